"""`trnbench run --ab` and `trnbench noise` as they are typed, with real processes as workers."""

import json
from pathlib import Path

import pytest

from tests.command import in_process
from tests.fake_python import fake_python
from trnbench.schema.comparison import Comparison

CONFIG = """
name: {name}
model: tiny-llama
workload: {{sequence_length: 64, global_batch_size: 4, micro_batch_size: {micro}}}
device: cpu
measure: {{relative_precision: 0.05, min_seconds: 0, min_samples: 50, gate: false}}
"""


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """Return a folder with two ways to do the same work."""
    (tmp_path / "a.yaml").write_text(CONFIG.format(name="whole", micro=4))
    (tmp_path / "b.yaml").write_text(CONFIG.format(name="halves", micro=2))
    return tmp_path


def ab(folder: Path, *arguments: object) -> tuple[int, str, str]:
    done = in_process("run", "--ab", "a.yaml", "b.yaml", *arguments, cwd=folder)
    assert "Traceback" not in done.err
    return done.code, done.out, done.err


def test_two_configs_are_measured_in_turns_and_compared(configs: Path) -> None:
    python = fake_python(configs)
    code, out, err = ab(configs, "--launches", 3, "-o", "out", "--python", python, "--json")
    assert code == 0, err
    comparison = Comparison.model_validate_json(out)
    (case,) = comparison.cases
    assert comparison.is_paired
    assert (case.base.used, case.cand.used) == (3, 3)
    assert {d.key for d in case.differences if d.kind == "setup"} >= {"micro_batch_size"}
    assert [line[-1] for line in err.splitlines() if "case into" in line] == ["a", "b"]
    assert "[launch 6/6]" in err


def test_six_launches_of_each_arm_are_planned_where_nobody_says(configs: Path) -> None:
    code, out, _ = ab(configs, "--dry-run", "--json")
    plans = json.loads(out)["plans"]
    assert code == 0
    assert [plan["measure"]["launches"] for plan in plans] == [6, 6]


def test_an_experiment_in_the_same_folder_measures_only_what_is_missing(configs: Path) -> None:
    python = fake_python(configs)
    for launches in (2, 2):
        code, _, err = ab(configs, "--launches", launches, "-o", "out", "--python", python)
        assert code == 0, err
    assert "launch" not in err
    assert len(list((configs / "out").glob("*/*/measurement*.jsonl"))) == 4


def test_an_arm_that_fails_ends_it_and_what_was_measured_is_kept(configs: Path) -> None:
    python = fake_python(configs, "out_of_memory")
    code, _, err = ab(configs, "--launches", 3, "-o", "out", "--python", python)
    assert code == 4
    assert "no room for 9 GiB" in err
    assert len(list((configs / "out").glob("*/*/measurement*.jsonl"))) == 1


def test_a_gate_on_the_arms_is_read(configs: Path) -> None:
    python = fake_python(configs)
    code, out, err = ab(
        configs, "--launches", 4, "-o", "out", "--python", python,
        "--gate", "tokens_per_second > +5%",
    )  # fmt: skip
    assert code == 6, err
    assert "FAILED" in out


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ("global_batch_size: 8", "global_batch_size"),
        ("global_batch_size: 4, precision: bf16", "precision"),
        ("global_batch_size: 4, document_length: 32", "document_length"),
        ("global_batch_size: 4, lora: {rank: 4}", "lora"),
    ],
)
def test_unlike_work_is_refused_before_anything_is_launched(
    configs: Path, changed: str, key: str
) -> None:
    text = (configs / "b.yaml").read_text().replace("global_batch_size: 4", changed)
    (configs / "b.yaml").write_text(text)
    code, out, err = ab(configs, "-o", "out", "--python", fake_python(configs))
    assert (code, out) == (2, "")
    assert f"--allow {key}" in err
    assert not (configs / "out").exists()


def test_unlike_work_that_is_allowed_is_measured_and_told(configs: Path) -> None:
    text = (configs / "b.yaml").read_text().replace("size: 4,", "size: 4, precision: bf16,")
    (configs / "b.yaml").write_text(text)
    code, out, err = ab(
        configs, "--launches", 1, "-o", "out", "--python", fake_python(configs),
        "--allow", "precision",
    )  # fmt: skip
    assert code == 0, err
    assert "precision" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.yaml", "--ab", "a.yaml", "b.yaml"), "takes exactly two configs"),
        (("a.yaml", "--gate", "tokens_per_second > -2%"), "this run has one"),
        (("--ab", "a.yaml", "nowhere.yaml"), "nowhere.yaml"),
        (("--ab", "a.yaml", "b.yaml", "--margin", "two"), "--margin two"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    configs: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = in_process("run", *arguments, cwd=configs)
    assert done.code == 2
    assert said in done.err


def test_the_same_thing_against_itself_tells_what_a_gate_costs(configs: Path) -> None:
    python = fake_python(configs)
    done = in_process(
        "noise", "a.yaml", "--launches", 3, "-o", "out", "--python", python, "--format", "json",
        cwd=configs,
    )  # fmt: skip
    assert done.code == 0, done.err
    (floor,) = json.loads(done.out)["noise"]
    assert floor["launches"] == 6
    assert floor["ratio_low"] <= 1 <= floor["ratio_high"]
    assert not floor["is_alarm"]
    assert [gate["change"] for gate in floor["gates"]] == [0.01, 0.02, 0.05]
    assert floor["gates"][0]["apart"] >= floor["gates"][2]["apart"] >= 4


@pytest.mark.parametrize(("columns", "form"), [("60", "terminal"), ("160", "markdown")])
def test_noise_is_told_in_a_narrow_window_and_in_markdown(
    configs: Path, columns: str, form: str
) -> None:
    done = in_process(
        "noise", "a.yaml", "--launches", 3, "-o", "out", "--python", fake_python(configs),
        "--format", form, cwd=configs, COLUMNS=columns,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "A against A: ratio" in done.out
    assert "in turns" in done.out
    assert ("next: trnbench run --ab BASE CANDIDATE" in done.err) == (form == "terminal")
    if form == "terminal":
        assert max(map(len, done.out.splitlines())) <= 60


def test_arms_of_several_ranks_are_measured_in_turns_too(tmp_path: Path) -> None:
    for name, micro in (("a", 2), ("b", 1)):
        (tmp_path / f"{name}.yaml").write_text(CONFIG.format(name=name, micro=micro))
    ranks = ("--set", "parallel.data_parallel_replicate_size=2", "--set", "workload.threads=1")
    python = fake_python(tmp_path)
    code, out, err = ab(
        tmp_path, "--launches", 2, "-o", "out", "--python", python, "--json", *ranks
    )
    assert code == 0, err
    (case,) = Comparison.model_validate_json(out).cases
    assert (case.base.used, case.cand.used) == (2, 2)
    assert case.base.device_count == case.cand.device_count == 2


def test_a_job_of_several_ranks_against_itself_tells_what_a_gate_costs(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(CONFIG.format(name="a", micro=2))
    ranks = ("--set", "parallel.data_parallel_replicate_size=2", "--set", "workload.threads=1")
    done = in_process(
        "noise", "a.yaml", "--launches", 3, "-o", "out", "--python", fake_python(tmp_path),
        *ranks, cwd=tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "launches" in done.out
