"""`trnbench import`: each format by its lines, each trap by its name, bad input by a clear word."""

import gzip
import json
import re
from pathlib import Path

import pytest

from tests.command import in_process
from tests.pure.imports.logs import LOGS, TIMES, Sample, torchtitan
from trnbench.imports import FORMATS, find_format
from trnbench.imports.text import LogText
from trnbench.run.results import load_result
from trnbench.schema.result import Result


def imported(folder: Path, sample: Sample | str, *arguments: str, name: str = "x.log") -> Result:
    text = sample if isinstance(sample, str) else sample.text
    given = [] if isinstance(sample, str) else sample.arguments
    (folder / name).write_text(text)
    out = folder / "out"
    done = in_process("import", folder / name, "-o", out, *given, *arguments)
    assert done.code == 0, done.err
    (case,) = [path.parent for path in out.glob("*/result.json")]
    return load_result(case)


def checks_of(result: Result) -> dict[str, str]:
    return {check.name: check.verdict for check in result.checks}


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_found_by_content_and_read_to_its_rate(name: str, tmp_path: Path) -> None:
    sample = LOGS[name]
    assert find_format(sample.text) == name
    result = imported(tmp_path, sample)
    assert result.origin == "imported"
    assert result.metrics["tokens_per_second"].value == pytest.approx(sample.rate, rel=2e-3)
    assert result.standing in ("doubtful", "sound")
    assert {"machine", *sample.doubts} <= {
        name for name, verdict in checks_of(result).items() if verdict == "doubtful"
    }
    assert result.price is None
    assert result.metrics["peak_memory_bytes"].value or result.metrics["peak_memory_bytes"].reason


@pytest.mark.parametrize("name", FORMATS)
def test_a_result_is_made_again_from_the_lines_that_were_kept(name: str, tmp_path: Path) -> None:
    result = imported(tmp_path, LOGS[name])
    (path,) = (tmp_path / "out").glob("*/result.json")
    path.unlink()
    assert load_result(path.parent) == result.model_copy(update={"seal": None})


def test_the_first_step_and_evaluations_do_not_count(tmp_path: Path) -> None:
    text = LOGS["nanogpt"].text.replace(
        "iter 5: loss 10.5000, time 510.00ms",
        "step 5: train loss 3.0, val loss 3.0\niter 5: loss 10.5000, time 5100.00ms",
    )
    result = imported(tmp_path, text)
    assert result.timing.first_step_seconds == TIMES[0]
    assert result.metrics["step_time_mean_seconds"].value == pytest.approx(0.49875)
    assert checks_of(result)["evaluation_inside"] == checks_of(result)["first_step"] == "sound"


def test_lines_of_all_ranks_with_colours_and_progress_bars_count_once(tmp_path: Path) -> None:
    lines = torchtitan().splitlines(keepends=True)
    again = [line.replace("[rank0]", "[rank1]") for line in lines]
    both = "".join(a + b for a, b in zip(lines, again, strict=True))
    coloured = both.replace("loss:", "\x1b[32mloss:\x1b[0m[39m").replace(
        "memory:", "\x1b[36mmemory:"
    )
    (tmp_path / "x.gz").write_bytes(gzip.compress(coloured.replace("\n", "\r").encode("utf-16")))
    assert in_process("import", tmp_path / "x.gz", "-o", tmp_path / "out").code == 0
    (path,) = (tmp_path / "out").glob("*/result.json")
    found = load_result(path.parent)
    assert found.timing.measured_steps == len(TIMES) - 1
    assert found.metrics["tokens_per_second"].value == pytest.approx(65536, rel=2e-3)


def test_lines_written_each_second_whatever_they_state_are_invalid(tmp_path: Path) -> None:
    lines = LOGS["torchtitan"].text.splitlines()
    text = "\n".join(f"2026-01-01 00:00:{n:02} {line}" for n, line in enumerate(lines))
    assert checks_of(imported(tmp_path, text))["clock"] == "invalid"


def test_losses_that_are_no_numbers_make_it_invalid(tmp_path: Path) -> None:
    text = re.sub(r"loss 10\.\d+", "loss nan", LOGS["nanogpt"].text)
    result = imported(tmp_path, text)
    assert result.standing == "invalid"
    assert result.metrics["tokens_per_second"].value is not None


def test_a_restart_is_a_doubt_and_its_first_step_is_left_out(tmp_path: Path) -> None:
    lines = LOGS["megatron"].text.splitlines()
    again = lines[7].replace("500.0", "8000.0").replace("530.0", "8000.0")
    text = "\n".join([*lines, again, *lines[8:]])
    result = imported(tmp_path, text, "--sequence-length", "2048")
    assert checks_of(result)["restart"] == "doubtful"


def test_two_runs_in_one_log_are_refused_until_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(LOGS["csv"].text + LOGS["csv"].text.partition("\n")[2])
    refused = in_process("import", tmp_path / "x.log", "-o", tmp_path / "out")
    assert refused.code == 5
    assert "more than one run" in refused.err
    assert in_process("import", tmp_path / "x.log", "--run", "1", "-o", tmp_path / "out").code == 0


def test_several_runs_in_a_table_are_named(tmp_path: Path) -> None:
    text = LOGS["wandb-csv"].text.replace("\n", ',"1"\n').replace(',"1"\n', ',"c - loss"\n', 1)
    (tmp_path / "x.csv").write_text(text)
    done = in_process("import", tmp_path / "x.csv", "--tokens-per-step", 8, "-o", tmp_path / "out")
    assert done.code == 5
    assert "holds 2 runs: a - b, c" in done.err


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", 5, "is empty"),
        ("hello\nworld\n", 5, "not a log of a program that is known"),
        ("a\0b", 5, "is not a text"),
        (LOGS["nanogpt"].text.replace("tokens per", "x"), 5, "--tokens-per-step N"),
        (LOGS["megatron"].text, 5, "--sequence-length N"),
        (torchtitan().replace("Building", "x"), 5, "--devices N"),
        ('{"log_history": [{"step": 1, "loss": 2.0}]}', 5, "has no times"),
        ('{"log_history": [{"step": 1, "loss"', 5, "is no whole JSON document"),
        ("s:0 tel:10.9\ns:0 trl:10.96\n", 5, "has no times"),
        ("step,seconds\n1,\n", 5, "has no step with a time"),
    ],
)
def test_a_log_that_says_too_little_is_refused_with_what_to_do(
    text: str, code: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "x.log").write_text(text)
    done = in_process("import", tmp_path / "x.log", "-o", tmp_path / "out")
    assert done.code == code
    assert said in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--on", "p5.48xlrge"], "did you mean p5.48xlarge"),
        (["--on", "p5.48xlarge:0"], "is not a number of machines"),
        (["--model", "lama"], "is not a model"),
        (["--format", "torchtitn"], "did you mean torchtitan"),
        (["--on", "h100-sxm:4", "--devices", "8"], "--on h100-sxm:4 has 4"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_read(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = in_process("import", tmp_path / "none.log", *arguments, "-o", tmp_path / "out")
    assert done.code == 2
    assert said in done.err


def test_an_imported_result_is_reported_ranked_priced_and_compared(tmp_path: Path) -> None:
    arguments = ["--on", "p5.48xlarge", "--model", "llama3-8b", "--precision", "bf16"]
    result = imported(tmp_path, LOGS["torchtitan"], *arguments)
    assert result.metrics["mfu"].value is not None
    assert result.metrics["hfu"].value is None
    out = tmp_path / "out"
    row = json.loads(in_process("report", out, "--format", "json").out)["results"][0]
    assert row["origin"] == "imported"
    assert row["imported_from"] == "torchtitan"
    priced = ["--price-option", "on_demand", "--region", "us-east-1"]
    assert "imported" in in_process("rank", out, *priced).out
    assert "per million" in in_process("cost", out, "--tokens", "1B", *priced).out
    for form in ("csv", "markdown", "html"):
        assert "imported" in in_process("report", out, "--format", form).out
    assert "cannot tell" in in_process("compare", out, out).out


def test_what_is_kept_names_no_path_and_the_rest_of_a_long_log_is_not_kept(tmp_path: Path) -> None:
    text = "/home/somebody/run.py starts\n" * 1000 + LOGS["nanogpt"].text
    imported(tmp_path, text)
    (path,) = (tmp_path / "out").glob("*/log.gz")
    assert "somebody" not in gzip.decompress(path.read_bytes()).decode()


def test_a_compressed_log_that_was_cut_off_is_a_doubt(tmp_path: Path) -> None:
    whole = gzip.compress(LOGS["nanogpt"].text.encode() + bytes(range(1, 200)) * 40)
    (tmp_path / "x.log.gz").write_bytes(whole[:-30])
    assert in_process("import", tmp_path / "x.log.gz", "-o", tmp_path / "out").code == 0
    (path,) = (tmp_path / "out").glob("*/result.json")
    assert checks_of(load_result(path.parent))["cut_off"] == "doubtful"


def test_a_log_is_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("first\nsecond\n")
    lines = LogText(tmp_path / "x.log").lines()
    assert next(lines) == "first"


def test_the_page_of_imports_shows_commands_that_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "import.md").read_text()
    for name, sample in (
        ("train.log", "torchtitan"),
        ("megatron.log", "megatron"),
        ("steps.csv", "csv"),
    ):
        (tmp_path / name).write_text(LOGS[sample].text)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    commands = [
        line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line
    ]
    assert len(commands) >= 5
    for command in commands:
        program, *arguments = command.split()
        assert program == "trnbench"
        done = in_process(*arguments)
        assert done.code == 0, (command, done.err)
