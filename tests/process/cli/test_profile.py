"""`trnbench profile`: for real on the CPU and on the stand-in, and each way in which it ends."""

import csv
import gzip
import io
import json
import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.command import COMMAND, heed_signals, processes_named, trnbench
from tests.fake_python import Behaviour, fake_python
from tests.stand_in import stand_in_environment
from trnbench.cli.profile import read_one_case
from trnbench.errors import ConfigError
from trnbench.schema.profile import Profile

CONFIG = """\
name: profiled
model: tiny-gpt2
workload: {sequence_length: 32, global_batch_size: 2, execution: eager, precision: fp32}
measure: {hang_seconds: 100}
"""
RANKS = f"{CONFIG}parallel: {{data_parallel_replicate_size: 2}}\n"
FAST = """\
name: profiled on a stand-in
model: {family: llama, layers: 1, hidden_size: 32, heads: 2, intermediate_size: 48,
        vocabulary_size: 128, max_positions: 64, tied_embeddings: true}
workload: {sequence_length: 16, global_batch_size: 4, precision: fp32}
device: neuron:0
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "profiled.yaml"
    path.write_text(CONFIG)
    return path


def profile_in(folder: Path) -> Profile:
    return Profile.model_validate_json((folder / "profile.json").read_text(encoding="utf-8"))


def trace_in(folder: Path) -> Any:
    with gzip.open(folder / "trace.json.gz", "rt", encoding="utf-8") as trace:
        return json.load(trace)


# --- what really ran ------------------------------------------------------------------------------


def test_rank_0_of_a_job_is_profiled_for_real(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    config.write_text(RANKS)
    done = trnbench("profile", config, "--steps", 2, "-o", out, "--format", "csv", cwd=tmp_path)
    assert done.code == 0, done.err
    assert sorted(path.name for path in out.iterdir()) == ["profile.json", "trace.json.gz"]
    profile = profile_in(out)
    assert (profile.steps, profile.attributed_to, profile.environment.backend) == (2, "host", "cpu")
    assert len(profile.plain_seconds) == 2
    assert min(*profile.plain_seconds, profile.profiled_seconds) > 0
    assert profile.window_seconds == pytest.approx(profile.profiled_seconds, rel=0.2)
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["operator"] for row in rows] == [each.name for each in profile.operators]
    classes = {each.name: each.share for each in profile.classes}
    assert classes["matrix products"] > 0.01
    assert classes.get("others", 0.0) < 0.02, "most of what a GPT-2 does has a class"
    assert sum(classes.values()) + profile.unaccounted_share == pytest.approx(1.0)
    seen = profile.communication
    assert seen is not None
    assert (seen.rank, seen.steps, seen.reason) == (0, 2, None)
    assert seen.window_seconds is not None
    assert seen.seconds is not None
    assert seen.exposed_seconds is not None
    assert 0 < seen.exposed_seconds <= seen.seconds < seen.window_seconds
    assert set(seen.operations) == {"gloo:all_reduce"}
    exposed = seen.exposed_seconds / profile.window_seconds
    assert classes["communication"] > exposed - 1e-6, "it has c10d's calls too"
    assert 0 < profile.unaccounted_share < 0.9
    steps = [e for e in trace_in(out)["traceEvents"] if e.get("name") == "trnbench: step"]
    assert len(steps) == 2


def test_what_is_kept_tells_of_no_path_and_no_host(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("profile", config, "--python", fake_python(tmp_path), "-o", out, "-f", "json")
    done = trnbench(*arguments, cwd=tmp_path)
    assert done.code == 0, done.err
    kept = (out / "profile.json").read_text(encoding="utf-8")
    assert json.loads(kept) == json.loads(done.out)
    assert str(tmp_path) not in kept
    assert trace_in(out) == {"host_name": "…", "traceName": "…/trace.json", "traceEvents": []}


def test_the_quick_suite_s_first_case_is_profiled_where_none_is_named(tmp_path: Path) -> None:
    python = fake_python(tmp_path)
    done = trnbench("profile", "--python", python, cwd=tmp_path)
    assert done.code == 0, done.err
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name.endswith("-quick-profile")
    assert f"next: open {Path('results') / folder.name / 'trace.json.gz'}" in done.err
    assert "trnbench run quick" in done.err
    assert profile_in(folder).plan.model.name == "tiny-llama"


def test_a_profile_is_no_result_and_does_not_disturb_a_report(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "one"
    python = fake_python(tmp_path)
    assert trnbench("profile", config, "--python", python, "-o", out, cwd=tmp_path).code == 0
    done = trnbench("report", tmp_path / "results", cwd=tmp_path)
    assert done.code == 5
    assert "holds no result" in done.err


# --- the stand-in for a Trainium ------------------------------------------------------------------


def on_stand_in(folder: Path, *arguments: object, **settings: Any) -> tuple[int, str, str]:
    pytest.importorskip("torch.utils.backend_registration")
    config = folder / "stand-in.yaml"
    config.write_text(FAST)
    environment = {**stand_in_environment(**settings), "XDG_CACHE_HOME": str(folder / "cache")}
    done = trnbench(
        "profile", config, "--steps", 2, "-o", folder / "out", *arguments, cwd=folder, **environment
    )
    return done.code, done.out, done.err


def test_on_the_stand_in_the_host_s_operators_and_the_vendor_s_capture_are_told(
    tmp_path: Path,
) -> None:
    code, out, err = on_stand_in(tmp_path)
    assert code == 0, err
    assert "saw no time of the device" in out
    assert "has not run the backend neuron" in out
    profile = profile_in(tmp_path / "out")
    assert profile.captured_files == 2
    assert (tmp_path / "out" / "capture" / "ntrace.pb").exists(), "in the mode RUNTIME"
    assert profile.attributed_to == "host"
    assert trace_in(tmp_path / "out"), "written though the vendor's exporter took torch's own"
    assert str(tmp_path) not in (tmp_path / "out" / "profile.json").read_text()


def test_the_runtime_s_own_capture_and_the_profiler_are_refused_together(tmp_path: Path) -> None:
    config = tmp_path / "stand-in.yaml"
    config.write_text(FAST)
    environment = {**stand_in_environment(), "NEURON_RT_INSPECT_ENABLE": "1"}
    done = trnbench("profile", config, "-o", tmp_path / "out", cwd=tmp_path, **environment)
    assert done.code == 2
    assert "NEURON_RT_INSPECT_ENABLE=1" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("fault", "words"),
    [("memory@50", "micro_batch_size"), ("unsupported", "NCC_EVRF001")],
)
def test_a_vendor_s_error_is_told_in_our_words(tmp_path: Path, fault: str, words: str) -> None:
    code, _, err = on_stand_in(tmp_path, fault=fault)
    assert code == 4
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


# --- each way in which it ends --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("dies", "exit code 7"),
        ("is_killed", "signal 9"),
        ("garbage", "no record"),
        ("endless_line", "without an end"),
        ("out_of_memory", "no room for 9 GiB"),
        ("old_protocol", "mixed installation"),
        ("hangs", "measure.hang_seconds=5"),
    ],
)
def test_a_case_that_fails_is_told_and_leaves_nothing(
    behaviour: Behaviour, words: str, config: Path, tmp_path: Path
) -> None:
    # Only what hangs is waited for: a busy machine may keep a sound worker silent for longer.
    if behaviour == "hangs":
        config.write_text(CONFIG.replace("hang_seconds: 100", "hang_seconds: 5"))
    python = fake_python(tmp_path, behaviour)
    done = trnbench("profile", config, "--python", python, "-o", tmp_path / "out", cwd=tmp_path)
    assert done.code == 4, done.err
    assert words in done.err
    assert "Traceback" not in done.err
    assert "/home/somebody" not in done.err
    assert not (tmp_path / "out").exists()
    assert processes_named(str(tmp_path)) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_process_and_no_folder(
    number: int, code: int, config: Path, tmp_path: Path
) -> None:
    python = fake_python(tmp_path, "hangs")
    process = subprocess.Popen(
        [*COMMAND, "profile", str(config), "-o", str(tmp_path / "out"), "--python", python],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_signals,
    )
    try:
        assert process.stderr is not None
        assert any("to warm up" in line for line in process.stderr)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == code, err
    assert out == ""
    assert "no profile was kept" in err
    assert not (tmp_path / "out").exists()
    assert processes_named(str(tmp_path)) == []


def test_a_profile_is_never_overwritten(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "profile.json").write_text("{}")
    python = fake_python(tmp_path)
    done = trnbench("profile", config, "--python", python, "-o", out, cwd=tmp_path)
    assert done.code == 2
    assert "holds a profile already" in done.err
    assert (out / "profile.json").read_text() == "{}"


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_trained(
    config: Path, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("")
    python = fake_python(tmp_path)
    out = tmp_path / "a file" / "out"
    done = trnbench("profile", config, "--python", python, "-o", out, cwd=tmp_path)
    assert done.code == 2
    assert "cannot be written" in done.err
    assert "to warm up" not in done.err


def test_several_cases_are_refused_with_the_way_to_choose_one(tmp_path: Path) -> None:
    done = trnbench("profile", "quick", cwd=tmp_path)
    assert done.code == 2
    assert "quick: holds 2 cases" in done.err
    assert "--set 'sweep.model=[tiny-llama]'" in done.err


@pytest.mark.parametrize("chunk", ["256", "'256'", "null", "{rank: 4}"])
def test_what_it_says_to_choose_is_a_choice(chunk: str, tmp_path: Path) -> None:
    key = "workload.lora" if "rank" in chunk else "workload.loss_chunk_tokens"
    key = "name" if "'" in chunk else key
    path = tmp_path / "swept.yaml"
    path.write_text(CONFIG + f"sweep: {{{key}: [{chunk}, {chunk}], model: [tiny-gpt2]}}\n")
    with pytest.raises(ConfigError, match="holds 2 cases") as caught:
        read_one_case(str(path), {})
    _, hint = str(caught.value.problems[0].hint).split("the first: ")
    options = shlex.split(hint)[1::2]
    chosen = read_one_case(str(path), dict(option.split("=", 1) for option in options))
    assert len(chosen.swept) == 2


@pytest.mark.parametrize("steps", ["0", "101", "two"])
def test_a_wrong_number_of_steps_is_refused(steps: str, tmp_path: Path) -> None:
    done = trnbench("profile", "--steps", steps, cwd=tmp_path)
    assert done.code == 2
    assert "--steps" in done.err


def test_an_interpreter_without_torch_is_told(config: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    done = trnbench("profile", config, "--python", python, cwd=tmp_path)
    assert done.code == 3
    assert "with torch" in done.err
