"""The file that any interpreter is started with: what it loads, and whom it turns away."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.train.children import ENTRY, run_child
from trnbench.protocol.codec import decode
from trnbench.protocol.orders import ProbeDevices
from trnbench.protocol.records import CHILD_RECORDS, Failed
from trnbench.train import entry
from trnbench.train.software import no_torch

PRETENDS_TO_BE_OLD = """
import runpy, sys
sys.version_info = (3, 9, 18, "final", 0)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def assert_refuses(line: bytes, version: str) -> None:
    record = decode(line, CHILD_RECORDS)
    assert isinstance(record, Failed)
    assert record.reason == "unavailable"
    assert record.message == f"Python {version} runs the worker; trnbench needs 3.11 or newer"
    assert "--python" in (record.hint or "")


def test_an_interpreter_that_is_too_old_is_told_so_in_a_record(tmp_path: Path) -> None:
    with (tmp_path / "records").open("w+b") as records:
        ended = subprocess.run(
            [
                *(sys.executable, "-c", PRETENDS_TO_BE_OLD, str(ENTRY), "probe"),
                *("--records-fd", str(records.fileno())),
            ],
            pass_fds=(records.fileno(),),
            capture_output=True,
            timeout=60,
        )
        records.seek(0)
        lines = records.readlines()
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert len(lines) == 1
    assert_refuses(lines[0], "3.9")


@pytest.mark.parametrize("running", [(2, 7), (3, 6), (3, 10)])
def test_the_refusal_is_a_record_of_this_version(running: tuple[int, int]) -> None:
    assert_refuses(entry.refusal(running).encode(), f"{running[0]}.{running[1]}")


def test_without_a_descriptor_the_refusal_goes_to_standard_output() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PRETENDS_TO_BE_OLD, str(ENTRY), "probe"],
        capture_output=True,
        timeout=60,
    )
    assert_refuses(ended.stdout, "3.9")


def test_an_old_interpreter_of_this_machine_can_read_the_file() -> None:
    for minor in range(10, 5, -1):
        python = shutil.which(f"python3.{minor}")
        if python is None:
            continue
        ended = subprocess.run([python, str(ENTRY), "probe"], capture_output=True, timeout=60)
        if ended.stdout or b"SyntaxError" in ended.stderr:
            assert_refuses(ended.stdout, f"3.{minor}")
            return
    pytest.skip("no Python older than 3.11 runs on this machine")


def test_the_file_holds_no_syntax_that_an_old_interpreter_lacks() -> None:
    tree = ast.parse(ENTRY.read_text(encoding="utf-8"), feature_version=(3, 7))
    imported = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not {name for name in imported if name.startswith("trnbench")}


def test_the_oldest_python_is_the_one_that_the_package_asks_for() -> None:
    needed = ".".join(map(str, entry.OLDEST_PYTHON))
    metadata = (ENTRY.parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires-python = ">={needed}"' in metadata


def test_an_interpreter_without_torch_says_so_and_what_to_do(tmp_path: Path) -> None:
    # Isolated and without its packages, this interpreter has the standard library alone.
    ended = run_child(tmp_path, ProbeDevices(), python=(sys.executable, "-I", "-S"))
    assert ended.kinds == ["probe", "failed"]
    failed = ended.records[-1]
    assert failed.reason == "unavailable"
    assert "cannot import torch: No module named 'torch'" in failed.message
    assert "--python PATH" in failed.hint
    assert ended.exit_code == 0


def test_a_torch_that_is_broken_is_told_like_one_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libdriver.so: cannot open')\n")
    ended = run_child(tmp_path, ProbeDevices(), environment={"PYTHONPATH": str(tmp_path)})
    failed = ended.records[-1]
    assert (failed.kind, failed.reason) == ("failed", "unavailable")
    assert "libdriver.so: cannot open" in failed.message


@pytest.mark.parametrize(
    ("error", "said", "advice"),
    [
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            "No module",
            "pip install t",
        ),
        (ModuleNotFoundError("No module named 'sympy'", name="sympy"), "sympy", "install sympy"),
        (ImportError("libtorch_cpu.so: undefined symbol: x"), "undefined symbol", "damaged"),
        (AttributeError("module 'torch' has no attribute 'y'"), "AttributeError: mod", "damaged"),
    ],
)
def test_what_keeps_torch_from_being_imported_is_told_in_its_own_words(
    error: Exception, said: str, advice: str
) -> None:
    message, hint = no_torch(error)
    assert said in message
    assert advice in hint
    assert "--python PATH" in hint
    assert ("pip install torch`)" in hint) == ("No module named 'torch'" in message)


def test_this_copy_is_loaded_whatever_lies_on_the_search_path(tmp_path: Path) -> None:
    other = tmp_path / "trnbench"
    other.mkdir()
    (other / "__init__.py").write_text("")  # without it, no worker could be imported from here
    (tmp_path / "torch.py").write_text("raise ImportError('far enough')\n")
    ended = run_child(tmp_path, ProbeDevices(), environment={"PYTHONPATH": str(tmp_path)})
    assert ended.kinds == ["probe", "failed"]
    assert "far enough" in ended.records[-1].message


def test_nothing_that_lies_beside_the_file_becomes_visible(tmp_path: Path) -> None:
    # train/ has files of plain names; a package that imports `data` or `loop` must not get ours.
    beside = sorted(path.stem for path in ENTRY.parent.iterdir() if path.suffix == ".py")
    assert {"data", "loop"} <= set(beside)
    (tmp_path / "torch.py").write_text(
        "import importlib.util\n"
        f"found = [name for name in {beside!r} if importlib.util.find_spec(name)]\n"
        "raise ImportError(f'visible: {found}')\n"
    )
    ended = run_child(tmp_path, ProbeDevices(), environment={"PYTHONPATH": str(tmp_path)})
    assert "visible: []" in ended.records[-1].message
