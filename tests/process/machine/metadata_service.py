"""EC2's metadata service as a real HTTP server on this machine, well behaved and otherwise."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "EXAMPLETOKEN=="
ANSWERS = {
    "instance-type": "trn2.48xlarge",
    "placement/region": "us-east-2",
    "placement/availability-zone": "us-east-2c",
    "placement/availability-zone-id": "use2-az3",
    "instance-life-cycle": "capacity-block",
    "ami-id": "ami-0example000000000",
}


@dataclass
class Service:
    """A running service: where it is, and what it was asked."""

    url: str = ""
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def metadata_service(
    answers: Mapping[str, str] = ANSWERS,
    *,
    token_status: int = 200,
    knows_token: bool = True,
    hangs_at: str | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Service]:
    """Serve.

    Args:
        answers: by path; any other path is not found.
        token_status: how the request for a token ends.
        knows_token: whether the token that it gave is taken.
        hangs_at: a path, or `token`, that is never answered.
        host: where to listen.
    """
    service, over = Service(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            service.asked.append(self.path)
            is_right = self.path == "/latest/api/token" and (
                0 < int(self.headers["X-aws-ec2-metadata-token-ttl-seconds"]) <= 21600
            )
            self._answer("token", token_status if is_right else 400, TOKEN)

        def do_GET(self) -> None:
            service.asked.append(self.path)
            if not knows_token or self.headers["X-aws-ec2-metadata-token"] != TOKEN:
                self._answer("", 401, "Unauthorized" * 100)
                return
            path = self.path.removeprefix("/latest/meta-data/")
            self._answer(path, 200 if path in answers else 404, answers.get(path, ""))

        def _answer(self, path: str, status: int, body: str) -> None:
            if path == hangs_at:
                over.wait()
                return
            content = body.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    with Server((host, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        shown = f"[{host}]" if ":" in host else host
        service.url = f"http://{shown}:{server.server_address[1]}"
        try:
            yield service
        finally:
            over.set()
            server.shutdown()
            thread.join()
