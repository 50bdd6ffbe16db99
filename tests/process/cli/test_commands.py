"""The commands as a user types them: what comes out where, and which exit code."""

import csv
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.command import COMMAND, only_case, records_of, trnbench
from tests.fake_python import fake_python
from trnbench.cli.main import COMMANDS
from trnbench.config.yaml import read_document
from trnbench.run.configs import shipped_configs

ROOT = Path(__file__).resolve().parents[3]

HEAVY = ("torch", "pandas", "scipy", "numpy", "transformers")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["report", "--help"],
        ["models"],
        ["prices", "trn2.48xlarge"],
        ["schema", "config"],
    ],
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys; from trnbench.cli.main import main\n"
        f"sys.argv = ['trnbench', *{arguments!r}]\n"
        "try: main()\n"
        f"finally: print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


def test_run_and_report_never_import_torch_in_the_parent(tmp_path: Path) -> None:
    program = (
        "import sys; from trnbench.cli.main import main\n"
        "sys.argv = ['trnbench', *sys.argv[1:]]\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, 'pandas' in sys.modules, file=sys.stderr)\n"
    )
    python = fake_python(tmp_path)
    for arguments in (
        ["run", "--python", python, "-o", str(tmp_path / "run"), "--set", "measure.min_seconds=0"],
        ["report", str(tmp_path / "run")],
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
        )
        assert done.stderr.splitlines()[-1] == "False False", done.stderr


def test_every_command_has_a_file_of_its_own_and_a_line_of_help() -> None:
    assert {function.__module__ for function in COMMANDS.values()} == {
        f"trnbench.cli.{name}" for name in COMMANDS
    }
    listed = trnbench("--help").out
    for name in COMMANDS:
        assert f"\n  {name} " in listed


def test_the_version_is_told() -> None:
    from trnbench import __version__

    assert trnbench("--version").out == f"trnbench {__version__}\n"


# --- run ------------------------------------------------------------------------------------------


def test_run_trains_for_real_and_ends_with_the_table(tmp_path: Path) -> None:
    done = trnbench(
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
    done = trnbench("run", "llama3-8b-trn2.48xlarge", "--dry-run", cwd=tmp_path)
    assert done.code == 0
    assert "8,030,261,248" in done.out
    assert "64 = tensor 4 x pipeline 1 x context 1 x data 16 (fsdp)" in done.out
    assert "planned without the device" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_needs_no_torch(tmp_path: Path) -> None:
    done = trnbench("run", "--dry-run", "--json", "--python", "/bin/false", cwd=tmp_path)
    assert done.code == 0, done.err
    plans = json.loads(done.out)["plans"]
    assert [plan["device"]["backend"] for plan in plans] == ["auto", "auto"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "quik"], 2, "did you mean quick"),
        (["run", "nothing.yaml"], 2, "no such file"),
        (["run", "--set", "x"], 2, "is not KEY=VALUE"),
        (["run", "--set", "workload.sequence_lenght=4"], 2, "did you mean `sequence_length`"),
        (["run", "--set", "workload.sequence_length=[1]"], 2, "a list of 1 values"),
        (["run", "--set", "measure.max_usd=1"], 2, "cannot be kept without a price"),
        (["run", "--usd-per-hour", "-3"], 2, "usd_per_hour"),
        (["run", "--device", "tpu"], 2, "tpu"),
        (["run", "--device", "neuron"], 3, "'neuron' is not here"),
        (["run", "--python", "/bin/false"], 3, "did not answer as a Python with torch"),
        (["run", "--python", "/nowhere/python"], 2, "cannot be started"),
        (["run", "--set", "parallel.data_parallel_size=2"], 3, "asks for 2 devices"),
        (["run", "-o", "/proc/nowhere"], 2, "cannot be written"),
        (["report", "/nowhere"], 5, "no such folder"),
        (["report", "/tmp", "--usd-per-hour", "0"], 2, "--usd-per-hour 0"),
        (["report", "/tmp", "--prices", "/nowhere.csv"], 2, "cannot be read"),
        (["report", "--format", "pdf"], 2, "pdf"),
        (["prices", "trn2.48xlarg"], 2, "did you mean trn2.48xlarge"),
        (["prices", "trn2.48xlarge", "--region", "mars-1"], 2, "no such rate"),
        (["models", "--sequence-length", "0"], 2, "sequence-length"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_bad_input_is_one_clear_sentence_with_its_exit_code(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    done = trnbench(*arguments, cwd=tmp_path)
    assert done.code == code, done.err
    assert said in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_debug_shows_the_traceback_behind_an_error() -> None:
    done = trnbench("--debug", "run", "quik")
    assert done.code == 2
    assert "Traceback" in done.err


def test_an_accelerator_is_not_priced_for_what_a_cpu_does() -> None:
    done = trnbench("run", "--device", "cpu", "--set", "price.instance=trn2.48xlarge")
    assert done.code == 2
    assert "price.instance" in done.err
    assert "trainium2" in done.err


def test_an_unknown_instance_is_refused_with_near_names() -> None:
    done = trnbench("run", "--dry-run", "--set", "price.instance=trn2.48xlarg")
    assert done.code == 2
    assert "trn2.48xlarge" in done.err


# --- shipped configs and schemas ------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_a_shipped_config_is_accepted_by_its_schema_and_can_be_planned(name: str) -> None:
    schema = json.loads(trnbench("schema", "config").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    document = read_document(shipped_configs()[name])
    jsonschema.Draft202012Validator(schema).validate(document.data)
    done = trnbench("run", name, "--dry-run", "--json", "--python", "/bin/false")
    assert done.code == 0, done.err
    for plan in json.loads(done.out)["plans"]:
        assert plan["prediction"]["memory_verdict"] in ("fits", "tight", "unknown")


def test_the_schema_refuses_what_the_parser_refuses() -> None:
    schema = json.loads(trnbench("schema", "config").out)
    bad = {"name": "x", "model": "gpt2-124m", "workload": {"sequence_length": 0}, "colour": 1}
    messages = [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(bad)]
    assert any("colour" in message for message in messages)
    assert any("global_batch_size" in message for message in messages)


def test_the_files_of_a_run_agree_with_their_schemas(tmp_path: Path) -> None:
    trnbench(
        "run", "-o", tmp_path / "run", "--python", fake_python(tmp_path),
        "--set", "measure.min_seconds=0", "--set", "sweep={model: [tiny-llama]}",
    )  # fmt: skip
    case = only_case(tmp_path / "run")
    for kind, path in (
        ("plan", case / "plan.json"),
        ("result", case / "result.json"),
        ("run", tmp_path / "run" / "run.json"),
    ):
        schema = json.loads(trnbench("schema", kind).out)
        validator = jsonschema.Draft202012Validator(schema)
        assert list(validator.iter_errors(json.loads(path.read_text()))) == []
    schema = json.loads(trnbench("schema", "record").out)
    validator = jsonschema.Draft202012Validator(schema)
    for record in records_of(case):
        assert list(validator.iter_errors(record)) == []


# --- report ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one sound case."""
    folder = tmp_path_factory.mktemp("results")
    done = trnbench(
        "run", "-o", folder / "run", "--python", fake_python(folder),
        "--set", "measure.min_seconds=0", "--set", "sweep={model: [tiny-llama]}",
    )  # fmt: skip
    assert done.code == 0, done.err
    return folder


def test_report_reads_the_default_folder_and_any_level_above_a_case(results: Path) -> None:
    (results / "results").mkdir(exist_ok=True)
    for path in (results, results / "run", only_case(results / "run")):
        done = trnbench("report", path)
        assert done.code == 0, done.err
        assert done.out.count("tiny-llama (894k)") == 1


def test_an_old_run_is_recosted_at_a_rate_that_is_given(results: Path) -> None:
    def cell(column: str, *arguments: object) -> str:
        done = trnbench("report", results / "run", "--format", "csv", *arguments)
        assert done.code == 0, done.err
        (row,) = csv.DictReader(io.StringIO(done.out))
        return row[column]

    assert cell("usd_per_million_tokens") == ""
    assert "usd-per-hour" in cell("price_reason")
    one = float(cell("usd_per_million_tokens", "--usd-per-hour", "1"))
    four = float(cell("usd_per_million_tokens", "--usd-per-hour", "4"))
    assert four == pytest.approx(4 * one, rel=1e-12)
    tokens_per_second = float(cell("tokens_per_second"))
    assert one == pytest.approx(1e6 / 3600 / tokens_per_second, rel=1e-12)


def test_mfu_can_be_counted_by_another_convention(results: Path) -> None:
    full = trnbench("report", results / "run", "-f", "json", "--flops-convention", "matmul-full-v1")
    (result,) = json.loads(full.out)["results"]
    assert result["flops_convention"] == "matmul-full-v1"
    assert result["mfu"] == result["mfu_full"]


def test_a_damaged_case_is_told_and_the_others_are_still_shown(
    results: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "run" / "case"
    bad.mkdir(parents=True)
    (bad / "plan.json").write_text("{}")
    done = trnbench("report", results / "run", tmp_path)
    assert done.code == 5
    assert "tiny-llama" in done.out
    assert str(bad) in done.err


def test_a_report_goes_to_a_file_and_a_pipe_can_close_early(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    assert trnbench("report", results / "run", "-f", "markdown", "-o", path).code == 0
    assert path.read_text().startswith("| model |")
    piped = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.join(COMMAND)} prices | head -n 1 > /dev/null"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in piped.stderr


def test_a_terminal_that_knows_ascii_alone_gets_a_report(results: Path) -> None:
    done = trnbench("report", results / "run", PYTHONIOENCODING="ascii")
    assert done.code == 0
    assert "tiny-llama" in done.out
