"""The commands as a user types them: messages, exit codes, schemas and reports."""

import csv
import importlib
import io
import json
from pathlib import Path

import jsonschema
import pytest

from tests.command import in_process, only_case
from tests.comparisons import write_launch
from trnbench.cli.main import COMMANDS, module_of
from trnbench.cli.schema import TYPES
from trnbench.reports import text_formats

ROOT = Path(__file__).resolve().parents[3]


def test_every_command_has_a_file_of_its_own_and_a_line_of_help() -> None:
    for name in COMMANDS:
        function = module_of(name)
        module = importlib.import_module(f"trnbench.cli.{function}")
        assert getattr(module, function).__module__ == module.__name__
    listed = in_process("--help").out
    for name in COMMANDS:
        assert f"\n  {name} " in listed
    assert "..." not in listed.partition("Commands:")[2]  # nothing is cut short


def test_the_version_is_told() -> None:
    from trnbench import __version__

    assert in_process("--version").out == f"trnbench {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "quik"], 2, "did you mean quick"),
        (["run", "LLAMA3.2-1B"], 2, "did you mean llama3.2-1b or"),
        (["run", ""], 2, "CONFIG is empty"),
        (["report", ""], 2, "is empty; name a file or a folder"),
        (["report", "/tmp", ""], 2, "is empty; name a file or a folder"),
        (["compare", "a", "b", "--confirm"], 2, "--confirm: there is no gate to confirm"),
        (["compare", "a", "b", "--python", "x"], 2, "--python: applies only to --confirm"),
        (["compare", "", "/tmp"], 2, "is empty; name a file or a folder"),
        (["rank", ""], 2, "is empty; name a file or a folder"),
        (["import", ""], 2, "is empty; name a file or a folder"),
        (["import", "/nowhere"], 5, "/nowhere"),
        (["cost", "--tokens", "1e30"], 2, "is not from 1 to 1e24"),
        (["run", "nothing.yaml"], 2, "no such file"),
        (["run", "--set", "x"], 2, "is not KEY=VALUE"),
        (["run", "--set", "workload.sequence_lenght=4"], 2, "did you mean `sequence_length`"),
        (["run", "--set", "workload.sequence_length=[1]"], 2, "a list of 1 values"),
        (["run", "--set", "measure.max_usd=1"], 2, "cannot be kept without a price"),
        (["run", "--usd-per-hour", "-3"], 2, "--usd-per-hour -3: price.usd_per_hour: got"),
        (["run", "--device", "tpu"], 2, "--device tpu: device: 'tpu' is not known"),
        (["run", "--prices", "[1"], 2, "[1: no such file"),
        (["run", "--ab", "quick", "--dry-run"], 2, "write `trnbench run --ab A.yaml B.yaml"),
        (["peak", "--device", "gpu"], 2, "--device gpu: is not known"),
        (["report", "/nowhere"], 5, "no such folder"),
        (["report", "a" * 300], 5, "File name too long"),
        (["run", "a" * 300], 2, "File name too long"),
        (["report", "/tmp", "--usd-per-hour", "0"], 2, "--usd-per-hour 0"),
        (["report", "/tmp", "--prices", "/nowhere.csv"], 2, "no such file"),
        (["report", "--format", "pdf"], 2, "pdf"),
        (["prices", "trn2.48xlarg"], 2, "did you mean trn2.48xlarge"),
        (["prices", "trn2.48xlarge", "--region", "mars-1"], 2, "no such rate"),
        (["prices", "trn2.48xlarge", "--zone", "us-east-2a"], 2, "applies only to --live"),
        (["models", "--sequence-length", "0"], 2, "sequence-length"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_bad_input_is_one_clear_sentence_with_its_exit_code(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    done = in_process(*arguments, cwd=tmp_path)
    assert done.code == code, done.err
    assert said in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


# --- shipped configs and schemas ------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_every_kind_of_file_has_a_schema(kind: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(in_process("schema", kind).out))


def test_the_schema_refuses_what_the_parser_refuses() -> None:
    schema = json.loads(in_process("schema", "config").out)
    bad = {"name": "x", "workload": {"sequence_length": 0}, "colour": 1}
    messages = [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(bad)]
    assert any("colour" in message for message in messages)
    assert any("'model' is a required property" in message for message in messages)
    assert any("0 is not valid" in message for message in messages)


# --- formats --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["models"],
        ["prices", "trn2.48xlarge"],
        ["prices", "p5en.48xlarge", "--history"],
        ["cost", ROOT / "tests" / "golden" / "schema" / "v1", "--usd-per-hour", "3"],
    ],
)
def test_a_listing_has_every_format(arguments: list[object]) -> None:
    texts = {form: in_process(*arguments, "--format", form) for form in text_formats()}
    assert {done.code for done in texts.values()} == {0}
    assert list(csv.reader(io.StringIO(texts["csv"].out)))
    assert texts["json"] == in_process(*arguments, "--json")
    assert json.loads(texts["json"].out)
    assert len({done.out for done in texts.values()}) == len(texts)


# --- report ---------------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A run of one sound case."""
    write_launch(tmp_path / "results" / "run", overrides={"price": "{}"})
    return tmp_path / "results"


def test_report_reads_the_default_folder_and_any_level_above_a_case(results: Path) -> None:
    for paths in ((), (results,), (results / "run",), (only_case(results / "run"),)):
        done = in_process("report", *paths, cwd=results.parent)
        assert done.code == 0, done.err
        assert done.out.count("tiny-llama (894k)") == 1


def test_an_old_run_is_recosted_at_a_rate_that_is_given(results: Path) -> None:
    def cell(column: str, *arguments: object) -> str:
        done = in_process("report", results / "run", "--format", "csv", *arguments)
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
    full = in_process(
        "report", results / "run", "-f", "json", "--flops-convention", "matmul-full-v1"
    )
    (result,) = json.loads(full.out)["results"]
    assert result["flops_convention"] == "matmul-full-v1"
    assert result["mfu"] == result["mfu_full"]


def test_a_damaged_case_is_told_and_the_others_are_still_shown(
    results: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "run" / "case"
    bad.mkdir(parents=True)
    (bad / "plan.json").write_text("{}")
    done = in_process("report", results / "run", tmp_path)
    assert done.code == 5
    assert "tiny-llama" in done.out
    assert str(bad) in done.err


def test_a_report_goes_to_a_file(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    assert in_process("report", results / "run", "-f", "markdown", "-o", path).code == 0
    assert path.read_text().startswith("| model |")


@pytest.mark.parametrize("option", [["--region", "us-east-2"], ["--price-option", "spot"]])
@pytest.mark.parametrize(
    "command", ["report run", "cost run --tokens 1T", "export mllog run -o log"]
)
def test_a_price_of_no_instance_is_refused(command: str, option: list[str], tmp_path: Path) -> None:
    write_launch(tmp_path / "run")
    done = in_process(*command.split(), *option, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert f"{' '.join(option)}: none of these results is of a rented instance" in done.err
