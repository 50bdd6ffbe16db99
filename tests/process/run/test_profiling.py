"""The parent's part of a profile: variables, the trace that is kept, a disk that is full."""

import errno
import gzip
import json
import os
import socket
from pathlib import Path

import pytest

from tests.fake_python import fake_python
from tests.pure.run.plans import plan_case
from tests.pure.train.orders import make_order
from trnbench.catalog.backends import BACKENDS
from trnbench.errors import ConfigError, RunError
from trnbench.run import profile as profiling
from trnbench.run.profile import keep_trace, profile_case, variables_of
from trnbench.run.watch import Interruption
from trnbench.schema.plan import Plan
from trnbench.schema.profile import Profile

HOME = Path("/nowhere")
PROFILING = BACKENDS["neuron"].profiling_variables


def plan_on(backend: str) -> Plan:
    plan = plan_case({"device": "cpu"})
    return plan.model_copy(update={"order": make_order(backend=backend)})


@pytest.mark.parametrize("backend", ["neuron", "xla"])
def test_two_profilers_at_once_are_refused_on_a_trainium(backend: str) -> None:
    for value in ("", "0"):
        variables_of(plan_on(backend), {"NEURON_RT_INSPECT_ENABLE": value}, HOME)
    with pytest.raises(ConfigError, match="NEURON_RT_INSPECT_ENABLE=1") as caught:
        variables_of(plan_on(backend), {"NEURON_RT_INSPECT_ENABLE": "1"}, HOME)
    assert caught.value.problems[0].hint == "unset NEURON_RT_INSPECT_ENABLE"


def test_the_same_variable_means_nothing_elsewhere() -> None:
    variables = variables_of(plan_on("cpu"), {"NEURON_RT_INSPECT_ENABLE": "1"}, HOME)
    assert not [name for name in variables if "NEURON" in name]


def test_what_keeps_names_for_a_profile_is_left_as_the_user_set_it() -> None:
    set_by_user = dict.fromkeys(PROFILING[1:], "1")
    variables = variables_of(plan_on("neuron"), set_by_user, HOME)
    assert not set(PROFILING) & set(variables)
    assert variables["NEURON_RT_VISIBLE_CORES"] == "0", "all else is as in a measurement"


def test_a_trace_is_kept_without_paths_and_names(tmp_path: Path) -> None:
    source, target = tmp_path / "trace.json", tmp_path / "kept.json.gz"
    events = [{"name": f"aten::op_{n}", "args": {"kernel_file": "/a/b c/d.py"}} for n in range(9)]
    document = {
        "host_name": socket.gethostname(), "traceEvents": events, "traceName": str(source),
    }  # fmt: skip
    source.write_text(json.dumps(document, indent=1))
    keep_trace(source, target)
    with gzip.open(target, "rt", encoding="utf-8") as kept:
        told = json.load(kept)
    assert told["host_name"] == "…"
    assert told["traceName"] == "…/trace.json"
    assert [event["name"] for event in told["traceEvents"]] == [f"aten::op_{n}" for n in range(9)]
    assert {event["args"]["kernel_file"] for event in told["traceEvents"]} == {"…/d.py"}


def test_a_trace_of_many_parts_is_kept_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "_LINES_AT_ONCE", 3)
    source, target = tmp_path / "trace.json", tmp_path / "kept.json.gz"
    source.write_text(json.dumps(list(range(100)), indent=1))
    keep_trace(source, target)
    with gzip.open(target, "rt", encoding="utf-8") as kept:
        assert json.load(kept) == list(range(100))


def test_no_part_of_a_trace_is_left_where_it_cannot_be_kept(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        keep_trace(tmp_path / "not there.json", tmp_path / "kept.json.gz")
    assert list(tmp_path.iterdir()) == []


def run_in(folder: Path, plan: Plan | None = None) -> Profile | None:
    return profile_case(
        plan or plan_case({"device": "cpu"}),
        folder=folder / "out",
        python=fake_python(folder),
        steps=5,
        interruption=Interruption(),
        notify=lambda line: None,
    )


@pytest.mark.parametrize("what", ["keep_trace", "write_whole"])
def test_a_full_disk_leaves_no_half_of_a_profile(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(profiling, what, full)
    with pytest.raises(RunError, match="No space left on device"):
        run_in(tmp_path)
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_a_processor_s_memory_is_not_started(tmp_path: Path) -> None:
    plan = plan_case({"device": "cpu"})
    large = plan.prediction.model_copy(update={"memory_verdict": "does_not_fit"})
    with pytest.raises(RunError, match="it was not started"):
        run_in(tmp_path, plan.model_copy(update={"prediction": large}))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["trace.json.gz", "capture"])
def test_a_folder_that_holds_a_part_of_a_profile_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match="none is overwritten"):
        run_in(tmp_path)
