"""`trnbench doctor` as a user types it: on this machine, and on ones that are made to look ill."""

import csv
import getpass
import io
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import in_process
from tests.fake_python import fake_python
from tests.process.cli.test_terminal import drawn_on_a_terminal
from tests.process.train.test_inventory import install
from tests.pure.machine.places import write_neuron_ls


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder whose packages every interpreter sees before its own."""
    folder = tmp_path / "site"
    folder.mkdir()
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return folder


@pytest.fixture
def ill_trn2(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this a busy trn2 with the public index's empty packages."""
    write_neuron_ls(tmp_path / "bin", "trn2.48xlarge")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    install(site, "torch-neuronx", "1.0")
    install(site, "neuronx-cc", "1.0.post1")


def test_this_machine_is_described_and_the_exit_code_tells_of_problems() -> None:
    done = in_process("doctor")
    assert done.code == (3 if "\nproblem: " in done.out else 0), done.err
    assert done.err == ""
    for section in ("machine", "chips", "packages", "network", "price", "torch can use"):
        assert f"\n{section}\n" in f"\n{done.out}"
    assert not re.search(r"(?<![\w./…])/(?:home|tmp|root|usr|work|opt)\b", done.out)
    assert sys.prefix not in done.out
    for name in (getpass.getuser(), socket.gethostname()):
        assert name in ("root", "localhost") or name not in done.out


def test_json_is_one_document_that_says_the_same() -> None:
    done = in_process("doctor", "--json")
    document = json.loads(done.out)
    verdicts = {finding["verdict"] for finding in document["findings"]}
    assert verdicts <= {"ok", "problem", "warning", "absent"}
    assert done.code == (3 if "problem" in verdicts else 0)
    assert document["schema_version"] == 1
    assert document["packages"]["versions"]["torch"]
    assert document["devices"][-1]["backend"] == "cpu"
    assert sys.prefix not in done.out


def test_findings_are_rows_for_a_spreadsheet_too() -> None:
    first, *findings = csv.reader(io.StringIO(in_process("doctor", "--no-torch", "-f", "csv").out))
    assert first == ["name", "verdict", "evidence", "fix"]
    assert findings


def test_without_torch_nothing_heavy_is_imported_and_torch_is_not_asked() -> None:
    program = (
        "import sys; from trnbench.cli.main import main\n"
        "sys.argv = ['trnbench', 'doctor', '--no-torch', '--json']\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'pandas', 'scipy', 'numpy') if m in sys.modules],"
        " file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr == "[]\n"
    assert json.loads(done.stdout)["devices"] is None


@pytest.mark.usefixtures("ill_trn2")
def test_a_busy_trn2_with_empty_packages_is_told_with_every_fix() -> None:
    done = in_process("doctor", "--no-torch")
    assert done.code == 3
    assert "16 chips, 64 logical cores (LNC 2), 96 GiB each" in " ".join(done.out.split())
    text = " ".join(done.out.split())
    assert "problem: WRONG PACKAGE: torch-neuronx 1.0 and neuronx-cc 1.0.post1" in text
    assert "'torch-neuronx==2.1" in text
    assert "problem: python3 (pid 4242) holds Neuron device 0" in text
    assert "train.py" not in done.out
    assert done.out.rstrip().endswith("warnings.") or done.out.rstrip().endswith("warning.")
    document = json.loads(in_process("doctor", "--no-torch", "--json").out)
    problems = {f["name"] for f in document["findings"] if f["verdict"] == "problem"}
    assert problems == {"holders", "neuron_stub"}
    assert document["machine"]["neuron"]["chips"] == 16
    assert document["neuron"]["chips"][0]["connected_to"] == [12, 3, 4, 1]


def test_two_generations_and_a_torch_that_does_not_match_are_told(site: Path) -> None:
    for name, version in (
        ("torch", "2.15.0"),
        ("torch-neuronx", "2.14.3.0.1"),
        ("torch-xla", "2.9.0"),
    ):
        install(site, name, version)
    done = in_process("doctor", "--no-torch")
    assert done.code == 3
    text = " ".join(done.out.split())
    assert "two SDK generations are mixed" in text
    assert "torch-neuronx 2.14.3.0.1 was built for torch 2.14" in text


def test_an_interpreter_without_an_answer_is_a_problem_and_one_that_is_not_there_an_error() -> None:
    done = in_process("doctor", "--python", "/bin/false")
    assert done.code == 3
    assert "problem: …/false: is not a Python interpreter with torch" in done.out
    missing = in_process("doctor", "--python", "/nowhere/python")
    assert (missing.code, missing.out) == (2, "")
    assert "cannot be started" in missing.err


def test_a_torch_that_is_broken_is_a_problem(site: Path) -> None:
    (site / "torch.py").write_text("raise ImportError('libtorch_cpu.so: undefined symbol')\n")
    done = in_process("doctor")
    assert done.code == 3
    assert "undefined symbol" in done.out
    assert "problem: torch cannot be used" in " ".join(done.out.split())


@pytest.mark.parametrize("width", [60, 200])
@pytest.mark.usefixtures("ill_trn2")
def test_it_fits_the_terminal(width: int) -> None:
    code, written = drawn_on_a_terminal(width, "doctor", "--no-torch")
    assert code == 3
    lines = [re.sub(r"\x1b\[\d+m", "", line).rstrip("\r") for line in written.split("\n")]
    assert max(map(len, lines)) <= width
    assert any("WRONG PACKAGE" in line for line in lines)


@pytest.mark.usefixtures("ill_trn2")
def test_a_run_keeps_what_doctor_finds_and_no_process_of_others(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = in_process(
        "run", "-o", folder, "--python", fake_python(tmp_path),
        "--set", "measure.min_seconds=0", "--set", "sweep={model: [tiny-llama]}",
    )  # fmt: skip
    assert done.code == 0, done.err
    text = (folder / "run.json").read_text()
    machine = json.loads(text)["machine"]
    assert machine["neuron"]["logical_cores"] == 64
    assert machine["physical_cores"] is None or machine["physical_cores"] > 0
    assert "4242" not in text
    assert str(tmp_path) not in text
