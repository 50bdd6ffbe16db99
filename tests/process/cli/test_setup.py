"""scripts/setup.sh: what it does not understand is one sentence, and nothing is half made."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

# A Python that is too old; one without venv; one whose environments have a pip that fails.
PYTHON = shlex.quote(sys.executable)
TOO_OLD = '#!/bin/sh\ncase "$2" in *version_info*"<"*) exit 1 ;; *) echo 3.9.1 ;; esac\n'
WITHOUT_VENV = f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\nexec {PYTHON} "$@"\n'
WITHOUT_PIP = f"""#!/bin/sh
[ "$1 $2" = "-m pip" ] && exit 1
[ "$1 $2" = "-m venv" ] || exec {PYTHON} "$@"
mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what the script reads, and a space in its name."""
    folder = tmp_path / "a checkout"
    (folder / "scripts").mkdir(parents=True)
    for name in ("scripts/setup.sh", "scripts/find_torch.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def set_up(checkout: Path, what: str = "run", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "scripts/setup.sh", what],
        cwd=checkout,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def write_python(folder: Path, text: str) -> str:
    path = folder / "python"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done
    first, hint = done.stderr.splitlines()
    assert first.startswith("setup: ")
    assert hint.startswith("       ")
    for word in words:
        assert word in done.stderr


def test_a_task_that_is_none_is_refused(checkout: Path) -> None:
    refused(set_up(checkout, "everything"), "everything", "setup.sh dev")


def test_an_interpreter_that_is_none_is_refused(checkout: Path) -> None:
    refused(set_up(checkout, PYTHON="/nowhere/python"), "/nowhere/python", "make PYTHON=")
    assert not (checkout / ".venv").exists()


def test_an_old_interpreter_is_refused_with_its_version(checkout: Path, tmp_path: Path) -> None:
    refused(set_up(checkout, PYTHON=write_python(tmp_path, TOO_OLD)), "Python 3.9.1", "3.11")
    assert not (checkout / ".venv").exists()


def test_a_folder_of_somebody_else_s_is_left_as_it_is(checkout: Path) -> None:
    theirs = checkout / ".venv" / "theirs"
    theirs.mkdir(parents=True)
    refused(set_up(checkout), ".venv", "make VENV=")
    assert [p.name for p in (checkout / ".venv").iterdir()] == ["theirs"]


def test_a_python_without_venv_is_told_what_to_install(checkout: Path, tmp_path: Path) -> None:
    refused(set_up(checkout, PYTHON=write_python(tmp_path, WITHOUT_VENV)), "python3-venv")
    assert not (checkout / ".venv" / ".trnbench" / "ready-run").exists()


def test_what_pip_could_not_install_is_not_taken_for_ready(checkout: Path, tmp_path: Path) -> None:
    done = set_up(checkout, PYTHON=write_python(tmp_path, WITHOUT_PIP))
    assert done.returncode == 2
    assert "pip could not install" in done.stderr
    assert not (checkout / ".venv" / ".trnbench" / "ready-run").exists()
