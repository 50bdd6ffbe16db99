"""Fetch the JavaScript libraries of the HTML page again, and pack them into the package.

`reports/html/libraries.json` names each with its version, its file inside the npm package, and the
SHA-256 of that file. Without `--update` a file with another sum is refused; with it the sums are
written anew, after a version was changed there.

    python scripts/fetch_libraries.py [--update]
"""

import argparse
import base64
import gzip
import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "src/trnbench/reports/html"
LIST = FOLDER / "libraries.json"


def main() -> None:
    """Fetch, check and pack each library of the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="accept what is fetched")
    is_update = parser.parse_args().update
    libraries = json.loads(LIST.read_text())
    with tempfile.TemporaryDirectory() as folder:
        for name, library in libraries.items():
            found = sum_of(script := fetch(library, Path(folder)))
            if not is_update and library["sha256"] != found:
                raise SystemExit(f"{name}: has SHA-256 {found}, and {library['sha256']} is wanted")
            library["sha256"] = found
            (FOLDER / f"{name}.js.gz").write_bytes(gzip.compress(script, 9, mtime=0))
            print(f"{name} {library['version']}: {len(script):,} bytes, sha256-{found}")
    LIST.write_text(json.dumps(libraries, indent=2) + "\n")


def fetch(library: dict[str, str], folder: Path) -> bytes:
    """Return the script of one npm package; keep its licence in the package's own folder."""
    package, version = library["package"], library["version"]
    command = ["npm", "pack", "--silent", f"{package}@{version}"]
    packed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    with tarfile.open(folder / packed.stdout.strip()) as archive:
        texts = {name: read(archive, library[name]) for name in ("script", "licence_file")}
    licence = texts["licence_file"].replace(b"\r\n", b"\n")
    (FOLDER / f"LICENSE.{package}.txt").write_bytes(licence)
    # A map of the sources is no part of the page.
    return b"\n".join(
        line for line in texts["script"].splitlines() if not line.startswith(b"//# source")
    )


def read(archive: tarfile.TarFile, name: str) -> bytes:
    """Return a file of an npm package."""
    found = archive.extractfile(f"package/{name}")
    assert found is not None
    return found.read()


def sum_of(script: bytes) -> str:
    """Return a script's SHA-256 as a page's policy writes it."""
    return base64.b64encode(hashlib.sha256(script).digest()).decode()


if __name__ == "__main__":
    main()
