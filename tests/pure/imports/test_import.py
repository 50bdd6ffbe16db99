"""`trnbench import`: each format by its lines, each trap by its name, bad input by a clear word."""

import gzip
import json
import re
import tracemalloc
from pathlib import Path

import pytest

from tests.command import in_process
from tests.pure.imports.logs import LOGS, TIMES, Sample, torchtitan
from trnbench.errors import DataError
from trnbench.imports import FORMATS, find_format
from trnbench.imports.base import COLUMNS, Samples
from trnbench.imports.base import Sample as Step
from trnbench.imports.text import LogText
from trnbench.run.importing import import_log
from trnbench.run.results import load_result
from trnbench.schema.imported import Given
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


def test_parts_between_restarts_are_launches_and_not_pooled_as_one(tmp_path: Path) -> None:
    """Steps 1 to 20 at 0.5 s; then the job starts again at 11, and takes 0.6 s."""
    rows = ["step,step_time_seconds,tokens"]
    rows += [f"{step},{0.5 + step % 2 * 0.01},100" for step in range(1, 21)]
    rows += [f"{step},{0.6 + step % 2 * 0.01},100" for step in range(11, 51)]
    result = imported(tmp_path, "\n".join(rows) + "\n")
    first, second = result.launches
    assert (first.samples, second.samples) == (19, 39)
    assert first.step_time_mean_seconds == pytest.approx(0.50474, rel=1e-4)
    assert second.step_time_mean_seconds == pytest.approx(0.60487, rel=1e-4)
    mean = result.metrics["step_time_mean_seconds"]
    assert mean.value == pytest.approx((0.50474 * 0.60487) ** 0.5, rel=1e-4)
    assert mean.low is not None
    assert mean.high is not None
    assert mean.low < 0.504
    assert mean.high > 0.605
    assert checks_of(result)["segments"] == "sound"


def test_a_part_of_few_steps_is_no_launch(tmp_path: Path) -> None:
    rows = ["step,step_time_seconds,tokens"]
    rows += [f"{step},{0.5 + step % 2 * 0.01},100" for step in range(1, 21)]
    rows += [f"{step},9.0,100" for step in range(15, 20)]
    result = imported(tmp_path, "\n".join(rows) + "\n")
    assert len(result.launches) == 1
    assert result.timing.samples == 19
    assert result.metrics["step_time_mean_seconds"].value == pytest.approx(0.50474, rel=1e-4)


def test_ranks_whose_lines_cross_are_one_run(tmp_path: Path) -> None:
    lines = [line for line in LOGS["megatron"].text.splitlines() if "iteration" in line]
    late = [f"[rank1]: {line}" for line in lines]
    crossed = []
    for number, line in enumerate(lines):  # the other rank is two steps behind
        crossed.append(f"[rank0]: {line}")
        crossed += late[number - 2 : number - 1] if number >= 2 else []
    result = imported(tmp_path, "\n".join(crossed), "--sequence-length", "2048")
    assert "restart" not in checks_of(result)
    assert result.timing.measured_steps == len(TIMES) - 1


def test_lines_are_kept_on_disk_and_samples_in_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory does not grow with the lines of a log, and with its steps by 54 bytes each."""
    monkeypatch.setattr("trnbench.imports.HEAD_LENGTH", 2000)
    samples = Samples()
    samples.append(Step(step=1, seconds=0.5))
    assert sum(samples[name].itemsize for name in COLUMNS) == 54
    path = tmp_path / "x.log"

    def peak(steps: int) -> int:
        with path.open("w") as file:
            file.write("tokens per iteration will be: 1,024\niter 0: loss 2.5, time 1.00ms\n")
            for step in range(1, steps):
                file.write(f"iter {step}: loss 2.5, time {500 + step % 7}.00ms, mfu 2.00%\n")
        tracemalloc.start()
        _, _, kept = import_log(path, Given(), "run")
        kept.file.close()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(3_000) - peak(1_000) < 2_000 * 150


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
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--config", "quick"], "has 2 cases, and a log is of one run"),
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


OPTIMUM = {
    "scenario": {
        "dataset_shapes": {"dataset_size": 500, "sequence_length": 64, "num_choices": 1},
        "training_arguments": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    },
    "launcher": {"name": "torchrun", "nproc_per_node": 2},
    "backend": {"model": "openai-community/gpt2", "device": "cuda"},
    "environment": {"gpu": ["NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB"], "gpu_count": 2},
}


def test_the_config_beside_an_optimum_report_says_the_tokens_of_a_step(tmp_path: Path) -> None:
    (tmp_path / "benchmark_config.json").write_text(json.dumps(OPTIMUM))
    result = imported(tmp_path, LOGS["optimum-benchmark"].text, name="benchmark_report.json")
    assert result.workload.tokens_per_step == 4 * 2 * 2 * 64
    assert result.model.name == "openai-community/gpt2"
    assert result.source is not None
    assert (result.source.device_count, result.source.device_name) == (2, "NVIDIA A100-SXM4-80GB")
    (said,) = [check.evidence for check in result.checks if check.name == "beside"]
    assert "sequence length" in said
    assert "from benchmark_config.json" in said
    (path,) = (tmp_path / "out").glob("*/result.json")
    path.unlink()
    (tmp_path / "benchmark_config.json").unlink()
    assert load_result(path.parent).workload == result.workload


def test_a_config_within_an_optimum_report_says_it_too(tmp_path: Path) -> None:
    report = json.loads(LOGS["optimum-benchmark"].text)
    result = imported(tmp_path, json.dumps({"config": OPTIMUM, "report": report}))
    assert result.workload.tokens_per_step == 4 * 2 * 2 * 64


def test_a_damaged_file_beside_a_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "benchmark_config.json").write_text('{"scenario": {"dataset_shapes": 3}}')
    (tmp_path / "x.json").write_text(LOGS["optimum-benchmark"].text)
    done = in_process("import", tmp_path / "x.json", "-o", tmp_path / "out")
    assert done.code == 5
    assert "benchmark_config.json beside it is not optimum-benchmark's config" in done.err


SYSTEM = {"number_of_nodes": "2", "accelerators_per_node": "4", "accelerator_model_name": "GB300"}


@pytest.mark.parametrize(
    "place", ["results/theia/llama/system.json", "systems/theia.json", "results/theia/llama/x.json"]
)
def test_mlperfs_system_description_says_the_devices(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "theia" / "llama"
    folder.mkdir(parents=True)
    (tmp_path / "systems").mkdir()
    (tmp_path / place).write_text(json.dumps(SYSTEM))
    (folder / "package.json").write_text("{}")
    if place.endswith("x.json"):  # of several, the one that the log's name begins with
        (folder / "other_system.json").write_text(json.dumps({**SYSTEM, "number_of_nodes": "9"}))
    result = imported(folder, LOGS["mllog"], name="x_result_0.txt")
    assert result.source is not None
    assert (result.source.device_count, result.source.device_name) == (8, "GB300")
    assert checks_of(result)["beside"] == "sound"


def test_a_config_says_what_neither_log_nor_options_say_and_the_result_says_so(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "model: llama3-8b\nworkload: {sequence_length: 2048, precision: bf16}\n"
        "price: {instance: p5.48xlarge}\n"
    )
    config = ["--config", str(tmp_path / "mine.yaml")]
    result = imported(tmp_path, LOGS["megatron"].text, *config)
    assert result.workload.tokens_per_step == 2 * 2048
    assert result.model.name == "llama3-8b"
    assert result.device.instance == "p5.48xlarge"
    assert result.metrics["mfu"].value is not None
    (said,) = [check.evidence for check in result.checks if check.name == "beside"]
    assert said.endswith("from mine.yaml")
    assert "sequence length" in said


def test_a_config_that_leaves_the_length_to_us_says_none(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(LOGS["megatron"].text)
    done = in_process("import", tmp_path / "x.log", "--config", "llama3-8b", "-o", tmp_path / "out")
    assert done.code == 5
    assert "--sequence-length N" in done.err


def test_the_log_and_the_options_are_believed_before_a_config(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "model: llama3-8b\nworkload: {sequence_length: 2048, global_batch_size: 3}\n"
    )
    config = ["--config", str(tmp_path / "mine.yaml")]
    result = imported(tmp_path, LOGS["torchtitan"].text, "--model", "gpt2-124m", *config)
    assert (result.workload.sequence_length, result.workload.global_batch_size) == (1024, 32)
    assert result.model.name == "gpt2-124m"


@pytest.mark.parametrize(
    "text",
    [
        '{"log_history": 5}',
        '{"log_history": [5]}',
        '{"log_history": [{"loss": 1.0, "step": 1, "train_runtime": "x"}]}',
        '{"iteration-time": {"values": [1]}}',
        '{"latency": 1, "overall": 2, "train": {"latency": {"values": 5, "unit": "s"}}}',
    ],
)
def test_a_document_of_other_types_is_refused_and_no_bug(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    done = in_process("import", tmp_path / "x.json", "-o", tmp_path / "out")
    assert done.code == 5, done.err


def test_a_long_line_takes_no_longer_than_its_characters() -> None:
    """A pattern that is tried at each character of a line would take minutes."""
    with pytest.raises(DataError, match="not a log"):
        find_format("global_step " * 2**16)


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
