"""Jobs followed through clients that answer as kubectl's and SkyPilot's do, and what nodes run."""

import base64
import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command import Done, in_process
from tests.jobs import make_job
from trnbench.launchers.archive import BEGIN, END, WAIT
from trnbench.launchers.kubernetes import Kubernetes
from trnbench.launchers.kubernetes_job import INDEX
from trnbench.launchers.skypilot import SkyPilot

KUBECTL = """\
#!/bin/sh
echo "kubectl $*" >> calls
while [ "$1" = --namespace ]; do shift 2; done
case "$1 $2" in
  "apply -f") cat > applied.yaml; [ ! -e refusal ] || { cat refusal >&2; exit 1; } ;;
  "get pods") n=$(ls looks | wc -l); cat "looks/$(ls looks | head -n 1)"
    [ "$n" = 1 ] || rm "looks/$(ls looks | head -n 1)"
    [ ! -e interrupt ] || [ "$n" -gt 1 ] || kill -INT "$PPID" ;;
  "get job") cat refusal >&2; exit 1 ;;
  "logs --follow") cat live ;;
  "logs "*) cat whole ;;
  "cp "*) cp archive "$3" ;;
  "exec "*) : > fetched ;;
esac
"""

SKY = """\
#!/bin/sh
echo "sky $*" >> calls
case "$1" in
  launch) cat "$5" > task.yaml; cat said; exit "$(cat code)" ;;
  logs) cat said; exit "$(cat code)" ;;
esac
"""

SSH = '#!/bin/sh\necho "ssh $*" >> calls\n[ ! -e exit-code ] || cat exit-code\n'
RSYNC = '#!/bin/sh\necho "rsync $*" >> calls\ncp -r there/. "$4"\n'

NAME = "trnbench-x"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the clients are found, and write down how they were called."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("kubectl", KUBECTL), ("sky", SKY), ("ssh", SSH), ("rsync", RSYNC)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr("trnbench.launchers.follow.FIRST_SECONDS", 0.01)
    monkeypatch.setattr("trnbench.launchers.follow.MOST_SECONDS", 0.01)
    (tmp_path / "looks").mkdir()
    return tmp_path


def archive_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


CONTENT = archive_of({"./run.json": b"{}", "./case/plan.json": b"[]"})
PACKED = "\n".join(
    [
        BEGIN,
        base64.b64encode(CONTENT).decode(),
        f"{END} {hashlib.sha256(CONTENT).hexdigest()}",
    ]
)


def looks(place: Path, *states: dict[str, Any]) -> None:
    """Let `kubectl get pods` answer with these states of the first pod, one after the other."""
    for number, state in enumerate(states):
        pod = {
            "metadata": {"name": f"{NAME}-0-abcde", "annotations": {INDEX: "0"}},
            "status": {"phase": "Running", "containerStatuses": [{"state": state}]},
        }
        (place / f"looks/{number}.json").write_text(json.dumps({"items": [pod]}))


def ended(code: int) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}}


RUNNING: dict[str, Any] = {"running": {}}


def launch(place: Path, engine: str, *words: str) -> Done:
    return in_process("launch", engine, *words, "-o", "home", cwd=place)


def submit(place: Path, *words: str) -> Done:
    job = ("quick", "--device", "cpu", "--image", "x:1", "--namespace", "bench", "--submit")
    return launch(place, "kubernetes", *job, *words)


def test_a_job_is_submitted_followed_and_its_results_come_home(place: Path) -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    looks(place, waiting, RUNNING, ended(0))
    (place / "live").write_text(f"a table\n{PACKED}\n")
    done = submit(place)
    assert (done.code, done.out) == (0, "")
    assert [each["kind"] for each in yaml.safe_load_all((place / "applied.yaml").read_text())] == [
        "ConfigMap",
        "Service",
        "Job",
    ]
    assert "PENDING (0 of 1 pods run; ImagePullBackOff: no such image)" in done.err
    assert "a table\n" in done.err
    assert BEGIN not in done.err
    assert "SUCCEEDED" in done.err
    assert (place / "home/run.json").read_text() == "{}"
    assert (place / "home/case/plan.json").read_text() == "[]"
    assert "to remove what is left of the job: kubectl --namespace bench delete job" in done.err


def test_the_exit_code_is_the_job_s_and_a_log_that_was_cut_is_read_again(place: Path) -> None:
    looks(place, RUNNING, ended(4))
    (place / "live").write_text(f"a table\n{PACKED[:60]}\n")
    (place / "whole").write_text(f"a table\n{PACKED}\n")
    done = submit(place)
    assert done.code == 4
    assert "`trnbench run` ended with code 4" in done.err
    assert (place / "home/run.json").exists()


def test_an_archive_that_is_too_large_for_a_log_is_copied_while_its_pod_waits(place: Path) -> None:
    looks(place, RUNNING, RUNNING, ended(0))
    (place / "live").write_text(f"{WAIT} 7000000\n")
    (place / "archive").write_bytes(CONTENT)
    done = submit(place)
    assert done.code == 0, done.err
    assert (place / "fetched").exists()
    assert (place / "home/run.json").exists()


def test_results_that_do_not_come_are_told(place: Path) -> None:
    looks(place, RUNNING, ended(0))
    for name in ("live", "whole"):
        (place / name).write_text("a table\n")
    done = submit(place)
    assert done.code == 4
    assert "its results did not come: the log of trnbench-x-0-abcde holds no results" in done.err


def test_a_namespace_that_is_not_there_and_a_job_that_is_gone(place: Path) -> None:
    (place / "refusal").write_text(
        'Error from server (NotFound): error when creating "STDIN": namespaces "bench" not found\n'
    )
    done = submit(place)
    assert done.code == 2
    assert "trnbench: --namespace bench: the cluster has none of that name" in done.err
    (place / "looks/0.json").write_text('{"items": []}')
    (place / "refusal").write_text(
        'Error from server (NotFound): jobs.batch "trnbench-x" not found\n'
    )
    done = launch(place, "kubernetes", "--follow", NAME)
    assert done.code == 3
    assert "trnbench: job trnbench-x: is gone" in done.err


def test_ctrl_c_says_what_goes_on_and_how_to_end_it(place: Path) -> None:
    looks(place, RUNNING, RUNNING)
    (place / "live").write_text("a table\n")
    (place / "interrupt").touch()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's is ignored
    done = submit(place)
    assert done.code == 130
    *_, stopped, end, again = done.err.splitlines()
    assert stopped.startswith("stopped by Ctrl-C: job trnbench-quick-")
    assert "goes on running" in stopped
    assert end.startswith("to end it: kubectl --namespace bench delete job trnbench-quick-")
    assert again.startswith("to follow it: trnbench launch kubernetes --follow trnbench-quick-")
    assert again.endswith(f"--namespace bench -o {place / 'home'}")


# --- SkyPilot -------------------------------------------------------------------------------------


def sky(place: Path, code: int, said: str = "a table\n") -> Done:
    (place / "code").write_text(f"{code}\n")
    (place / "said").write_text(said)
    (place / "there").mkdir(exist_ok=True)
    (place / "there/run.json").write_text("{}")
    return launch(place, "skypilot", "quick", "--device", "cpu", "--submit")


def test_skypilot_rents_follows_fetches_and_ends(place: Path) -> None:
    done = sky(place, 0)
    assert done.code == 0, done.err
    assert "a table\n" in done.err
    assert (place / "home/run.json").exists()
    launched, fetched, down = (place / "calls").read_text().splitlines()
    name = yaml.safe_load((place / "task.yaml").read_text())["name"]
    assert launched.startswith(f"sky launch --yes --cluster {name} ")
    assert fetched.startswith(f"rsync --archive --compress {name}:trnbench-jobs/{name}/results/ ")
    assert down == f"sky down --yes {name}"


def test_skypilot_s_code_is_the_first_node_s_own(place: Path) -> None:
    (place / "exit-code").write_text("4\n")
    done = sky(place, 100)
    assert done.code == 4
    assert (place / "home/run.json").exists()


def test_what_skypilot_cannot_rent_and_a_cluster_that_is_gone(place: Path) -> None:
    done = sky(place, 1, "sky.exceptions.ResourcesUnavailableError: no capacity\n")
    assert done.code == 3
    assert (
        "could not be launched: sky.exceptions.ResourcesUnavailableError: no capacity" in done.err
    )
    done = launch(place, "skypilot", "--follow", NAME)
    assert done.code == 3
    assert "job trnbench-x: is gone, or SkyPilot does not answer" in done.err


# --- what a node runs -----------------------------------------------------------------------------

RUN = """\
#!/bin/sh
for word; do folder=$word; done
[ -z "${WAITS:-}" ] || trap 'echo asked > "$folder/asked"; exit 143' TERM
mkdir -p "$folder"; echo '{}' > "$folder/run.json"; echo "ran $*"
[ -z "${WAITS:-}" ] || while :; do sleep 0.05; done
exit 4
"""


def script_of(engine: str, place: Path) -> list[str]:
    (place / "tools/trnbench").write_text(RUN)
    (place / "tools/trnbench").chmod(0o755)
    if engine == "skypilot":
        return ["bash", "-c", SkyPilot().task(make_job())["run"]]
    *_, job = Kubernetes().objects(make_job())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    words: list[str] = container["command"]
    return [word.replace("/results", str(place / "results")) for word in words]


def node(engine: str, place: Path, rank: int, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        script_of(engine, place),
        env={
            **os.environ,
            "HOME": str(place),
            "JOB_COMPLETION_INDEX": str(rank),
            "SKYPILOT_NODE_RANK": str(rank),
            **more,
        },
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_first_pod_ends_as_its_run_and_prints_its_results(place: Path) -> None:
    process = node("kubernetes", place, 0)
    out, _ = process.communicate()
    assert process.returncode == 4
    lines = out.splitlines()
    assert lines[0].startswith("ran run /suite/suite.yaml -o ")
    begin = lines.index(BEGIN)
    content = base64.b64decode("".join(lines[begin + 1 : -1]))
    assert lines[-1] == f"{END} {hashlib.sha256(content).hexdigest()}"
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert "./run.json" in archive.getnames()


def test_another_pod_leaves_the_job_s_end_to_the_first(place: Path) -> None:
    process = node("kubernetes", place, 1)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert out.splitlines()[-1] == "node 1: trnbench ended with code 4"


def test_a_pod_that_is_asked_to_end_asks_its_run_and_still_prints_the_results(place: Path) -> None:
    process = node("kubernetes", place, 0, WAITS="1")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ran run")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()
    assert process.returncode == 143
    assert END in out
    assert (place / "results/run/asked").exists()


def test_a_run_that_reaches_the_time_limit_ends_with_its_own_code(place: Path) -> None:
    words = [word.replace(" 40m ", " 0.1s ") for word in script_of("kubernetes", place)]
    variables = {**os.environ, "JOB_COMPLETION_INDEX": "0", "WAITS": "1"}
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 143
    assert END in done.stdout


def test_a_node_of_skypilot_has_the_suite_and_keeps_the_code(place: Path) -> None:
    process = node("skypilot", place, 0)
    process.communicate()
    folder = place / "trnbench-jobs/trnbench-mine-1a2b3c"
    assert process.returncode == 4
    assert (folder / "exit-code").read_text() == "4\n"
    assert (folder / "suite.yaml").read_text() == "name: mine\nmodel: tiny-llama\n"
    assert (folder / "results/run.json").exists()
