"""The commands as processes: what they import, what they start, and what comes out where."""

import csv
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.command import COMMAND, in_process, only_case, records_of, trnbench
from tests.comparisons import write_launch
from tests.fake_python import fake_python
from trnbench.config.yaml import read_document
from trnbench.run.configs import shipped_configs

FOR_FILES = ("pydantic", "yaml", "rich.console")
HEAVY = ("torch", "pandas", "scipy", "numpy", "transformers", "boto3")


def imported_of(names: tuple[str, ...], *arguments: str) -> str:
    """Return which of the modules a command has imported when it ends."""
    program = (
        "import sys; from trnbench.cli.main import main\n"
        f"sys.argv = ['trnbench', *{list(arguments)!r}]\n"
        "try: main()\n"
        f"finally: print([m for m in {names!r} if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--help"],
        ["report", "--help"],
        ["models"],
        ["prices", "trn2.48xlarge"],
        ["schema", "config"],
    ],
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    assert imported_of(HEAVY, *arguments) == "[]"


def test_help_imports_nothing_that_reads_or_writes_files() -> None:
    assert imported_of((*HEAVY, *FOR_FILES), "--help") == "[]"


def test_run_and_report_never_import_torch_in_the_parent(tmp_path: Path) -> None:
    python = fake_python(tmp_path)
    folder = str(tmp_path / "run")
    for arguments in (
        ["run", "--python", python, "-o", folder, "--set", "measure.min_seconds=0"],
        ["report", folder],
    ):
        assert imported_of(("torch", "pandas", "boto3"), *arguments) == "[]"


def test_run_trains_for_real_and_ends_with_the_table(tmp_path: Path) -> None:
    done = in_process(
        "run", "quick", "-o", tmp_path / "run", "--device", "cpu",
        "--set", "sweep={model: [tiny-gpt2]}", "--set", "workload.sequence_length=64",
        "--set", "measure.min_seconds=0", "--set", "measure.max_samples=60",
        "--set", "measure.relative_precision=0.3", "--usd-per-hour", "1.25",
        "--set", "measure.max_minutes=4",  # learning is judged from 50 steps on, however slow
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "tiny-gpt2" in done.out
    assert "tokens/s" in done.out
    assert "$1.25/h user" in done.out
    assert "results: " in done.err
    case = only_case(tmp_path / "run")
    assert records_of(case)[-1]["status"] == "finished"
    result = json.loads((case / "result.json").read_text())
    assert result["metrics"]["mfu"]["value"] > 0
    assert result["metrics"]["mfu_full"]["value"] > result["metrics"]["mfu"]["value"]
    assert {c["name"]: c["verdict"] for c in result["checks"]}["learning"] == "sound"
    run_document = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run_document["state"] == "finished"
    assert not (tmp_path / "run" / ".lock").exists()
    assert not (tmp_path / "run" / ".reserve").exists()


def test_json_puts_one_document_on_stdout_and_all_else_on_stderr(tmp_path: Path) -> None:
    done = trnbench(
        "run", "--json", "-o", tmp_path / "run", "--python", fake_python(tmp_path),
        "--set", "measure.min_seconds=0",
    )  # fmt: skip
    document = json.loads(done.out)
    # The stand-in has tiny-llama's weights, so the other case is invalid, and is still told.
    assert [r["standing"] for r in document["results"]] == ["sound", "invalid"]
    assert done.code == 4


def test_a_dry_run_prints_the_plan_and_makes_nothing(tmp_path: Path) -> None:
    done = in_process("run", "llama3-8b-trn2.48xlarge", "--dry-run", cwd=tmp_path)
    assert done.code == 0
    assert "8,030,261,248" in done.out
    assert "64 = shard 16 x tensor 4" in done.out
    assert "plan only: `run` would refuse it here: device 'neuron'" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_strict_dry_run_ends_with_3_where_the_plan_cannot_run(tmp_path: Path) -> None:
    refused = in_process("run", "llama3-8b-trn2.48xlarge", "--dry-run", "--strict", cwd=tmp_path)
    assert refused.code == 3
    assert "64 = shard 16 x tensor 4" in refused.out, "the plan is printed all the same"
    assert "--strict: `run` would refuse 1 of 1 plans on this machine" in refused.err
    assert in_process("run", "--dry-run", "--strict", cwd=tmp_path).code == 0


def test_a_dry_run_needs_no_torch(tmp_path: Path) -> None:
    done = in_process("run", "--dry-run", "--json", "--python", "/bin/false", cwd=tmp_path)
    assert done.code == 0, done.err
    plans = json.loads(done.out)["plans"]
    assert [plan["device"]["backend"] for plan in plans] == ["auto", "auto"]


def test_a_dry_run_has_every_format(tmp_path: Path) -> None:
    dry = ("run", "--dry-run", "--python", "/bin/false", "--format")
    done = in_process(*dry, "csv", cwd=tmp_path)
    assert done.code == 0, done.err
    first, *plans = csv.reader(io.StringIO(done.out))
    assert first[0] == "case_id"
    assert len(plans) == 2
    assert "# " in in_process(*dry, "markdown", cwd=tmp_path).out


# --- messages that need an interpreter ------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "--device", "neuron"], 3, "'neuron' is not here"),
        (["run", "--python", "/bin/false"], 3, "is not a Python interpreter with torch"),
        (["run", "--python", "/nowhere/python"], 2, "cannot be started"),
        (["run", "-o", "/proc/nowhere"], 2, "cannot be written"),
    ],
)
def test_what_cannot_be_trained_here_is_refused(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    done = in_process(*arguments, cwd=tmp_path)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "quik"], 2),
        (["run", "--python", "/bin/false"], 3),
        (["report", "/nowhere"], 5),
        (["frobnicate"], 2),
    ],
)
def test_an_error_of_each_class_is_the_exit_code_of_the_process(
    arguments: list[str], code: int, tmp_path: Path
) -> None:
    done = trnbench(*arguments, cwd=tmp_path)
    assert (done.code, done.out) == (code, "")
    assert "Traceback" not in done.err


def test_debug_shows_the_traceback_behind_an_error() -> None:
    done = trnbench("--debug", "run", "quik")
    assert done.code == 2
    assert "Traceback" in done.err


def test_an_accelerator_is_not_priced_for_what_a_cpu_does() -> None:
    done = in_process("run", "--device", "cpu", "--set", "price.instance=trn2.48xlarge")
    assert done.code == 2
    assert "price.instance" in done.err
    assert "trainium2" in done.err


def test_an_unknown_instance_is_refused_with_near_names() -> None:
    done = in_process("run", "--dry-run", "--set", "price.instance=trn2.48xlarg")
    assert done.code == 2
    assert "trn2.48xlarge" in done.err


# --- shipped configs and schemas ------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_a_shipped_config_is_accepted_by_its_schema_and_can_be_planned(name: str) -> None:
    schema = json.loads(in_process("schema", "config").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    document = read_document(shipped_configs()[name])
    jsonschema.Draft202012Validator(schema).validate(document.data)
    done = in_process("run", name, "--dry-run", "--json", "--python", "/bin/false")
    assert done.code == 0, done.err
    for plan in json.loads(done.out)["plans"]:
        assert plan["prediction"]["memory_verdict"] in ("fits", "tight", "unknown")


def test_the_files_of_a_run_agree_with_their_schemas(tmp_path: Path) -> None:
    in_process(
        "run", "-o", tmp_path / "run", "--python", fake_python(tmp_path),
        "--set", "measure.min_seconds=0", "--set", "sweep={model: [tiny-llama]}",
    )  # fmt: skip
    case = only_case(tmp_path / "run")
    for kind, path in (
        ("plan", case / "plan.json"),
        ("result", case / "result.json"),
        ("run", tmp_path / "run" / "run.json"),
    ):
        schema = json.loads(in_process("schema", kind).out)
        validator = jsonschema.Draft202012Validator(schema)
        assert list(validator.iter_errors(json.loads(path.read_text()))) == []
    schema = json.loads(in_process("schema", "record").out)
    validator = jsonschema.Draft202012Validator(schema)
    for record in records_of(case):
        assert list(validator.iter_errors(record)) == []


# --- report ---------------------------------------------------------------------------------------


def test_a_pipe_can_close_early() -> None:
    piped = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.join(COMMAND)} prices | head -n 1 > /dev/null"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in piped.stderr


def test_a_terminal_that_knows_ascii_alone_gets_a_report(tmp_path: Path) -> None:
    write_launch(tmp_path / "run")
    done = trnbench("report", tmp_path / "run", PYTHONIOENCODING="ascii")
    assert done.code == 0
    assert "tiny-llama" in done.out


# --- an output that is closed or full -------------------------------------------------------------


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        ("schema columns >&-", 2, "trnbench: stdout: cannot be written: it is closed\n"),
        ("schema columns 2>&-", 0, ""),
        ("schema columns 2> /dev/full", 0, ""),
        ("--help >/dev/full", 2, "trnbench: stdout: cannot be written: No space left on device\n"),
        ("models >/dev/full", 2, "trnbench: stdout: cannot be written: No space left on device\n"),
    ],
)
def test_a_closed_or_full_output_is_no_bug(redirection: str, code: int, said: str) -> None:
    done = subprocess.run(
        f"{shlex.join(COMMAND)} {redirection}",
        shell=True, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr[: len(said)]) == (code, said), done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("arguments", [["schema", "columns"], ["--help"], ["models", "--json"]])
def test_a_reader_that_stops_early_has_an_exit_code_of_its_own(arguments: list[str]) -> None:
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_warning_names_the_command_and_no_module(tmp_path: Path) -> None:
    case = write_launch(tmp_path / "run")
    (case / "result.json").write_text("{")
    done = trnbench("report", tmp_path / "run")
    assert done.err.startswith("trnbench: "), done.err
    assert "its result.json cannot be read" in done.err
