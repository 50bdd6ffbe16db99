"""The child as a real process: its records in order, and a record for every way out."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.process.train.children import Ended, line_of, run_child
from tests.pure.train.orders import LLAMA, SETTINGS, make_order
from trnbench.model.flops import parameter_count
from trnbench.protocol.orders import (
    PROTOCOL_VERSION,
    Command,
    Finish,
    ProbeDevices,
    RunBlock,
    Train,
    WorkOrder,
)
from trnbench.train.backends import find_devices
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, make_stream
from trnbench.train.loop import StepOutcomes, TrainingStep, prepare_tokens

FORBIDDEN = {"pydantic", "yaml", "typer", "rich", "psutil", "scipy", "pandas"}
ORDER = make_order(micro_batch_size=2, gradient_accumulation_steps=2, threads=1)
COMMANDS: list[Command] = [
    RunBlock(steps=1, purpose="warmup"),
    RunBlock(steps=3, purpose="measure"),
    Finish(),
]


def train(folder: Path, order: WorkOrder, commands: list[Command] | bytes) -> Ended:
    return run_child(folder, Train(order=order), commands=commands)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A whole short training; what is imported on the way is printed by the interpreter."""
    folder = tmp_path_factory.mktemp("trained")
    # Libraries print as they are loaded; nothing of it may get among the records.
    (folder / "sitecustomize.py").write_text("print('a library says hello', flush=True)\n")
    return run_child(
        folder,
        Train(order=ORDER),
        commands=COMMANDS,
        environment={"PYTHONPATH": str(folder), "PYTHONPROFILEIMPORTTIME": "1"},
    )


def imported_by(ended: Ended) -> set[str]:
    lines = [line for line in ended.errors.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def test_a_probe_tells_the_devices_and_the_versions(tmp_path: Path) -> None:
    ended = run_child(tmp_path, ProbeDevices())
    assert ended.kinds == ["probe", "probe", "finished"]
    probe = ended.records[1]
    assert probe.devices == find_devices()
    assert probe.wire_version == PROTOCOL_VERSION
    assert probe.versions["torch"] == torch.__version__
    assert ended.exit_code == 0


def test_a_training_tells_each_phase_in_order(trained: Ended) -> None:
    assert trained.kinds == [
        "probe", "environment", "build", "built", "train", "activity", "block", "block",
        "teardown", "memory", "finished",
    ]  # fmt: skip
    times = [record.at_seconds for record in trained.records]
    assert times == sorted(times)
    assert trained.exit_code == 0


def test_what_libraries_print_does_not_get_among_the_records(trained: Ended) -> None:
    assert trained.printed == "a library says hello\n"


def test_the_environment_is_the_one_that_was_ordered(trained: Ended) -> None:
    environment = trained.records[1]
    assert (environment.backend, environment.device_count) == ("cpu", 1)
    assert environment.threads == 1
    assert environment.settings["threads"] == "1"
    assert environment.proven
    assert not environment.asynchronous


def test_what_was_built_is_counted_on_the_device(trained: Ended) -> None:
    built = trained.records[3]
    assert built.parameter_count == parameter_count(LLAMA)
    assert built.parameter_bytes == 4 * built.parameter_count
    assert built.embeddings_are_tied is LLAMA.tied_embeddings


def test_blocks_are_the_ones_commanded_and_follow_each_other(trained: Ended) -> None:
    blocks = [record for record in trained.records if record.kind == "block"]
    assert [(b.purpose, b.first_step, b.steps) for b in blocks] == [
        ("warmup", 0, 1),
        ("measure", 1, 3),
    ]
    for block in blocks:
        lengths = [len(block.losses), len(block.gradient_norms), len(block.oracle_losses)]
        assert lengths == [block.steps] * 3
        assert 0 < block.seconds < trained.records[-1].at_seconds
        assert block.prepare_seconds > 0
    assert trained.records[-1].steps == 4


def test_the_losses_are_those_of_the_same_steps_made_here(trained: Ended) -> None:
    backend = CpuBackend(Claim())
    step = TrainingStep(build_objective(ORDER, backend), ORDER, backend)
    prepared = prepare_tokens(make_stream(ORDER), ORDER, 0, 4, backend)
    outcomes = StepOutcomes()
    for tokens in prepared:
        step.run(tokens, outcomes)
    blocks = [record for record in trained.records if record.kind == "block"]
    told = [loss for block in blocks for loss in block.losses]
    assert told == pytest.approx([loss.item() for loss in outcomes.losses], rel=1e-6)
    norms = [norm for block in blocks for norm in block.gradient_norms]
    assert norms == pytest.approx([norm.item() for norm in outcomes.gradient_norms], rel=1e-5)
    oracle = [loss for block in blocks for loss in block.oracle_losses]
    assert oracle == [tokens.oracle_loss for tokens in prepared]


def test_the_peak_of_memory_is_that_of_a_process_with_torch(trained: Ended) -> None:
    memory = next(record for record in trained.records if record.kind == "memory")
    assert memory.counted == "process_rss"
    assert 50e6 < memory.peak_bytes < 2e9


def test_the_child_imports_torch_and_its_own_room_alone(trained: Ended) -> None:
    imported = imported_by(trained)
    assert "torch" in imported
    assert not {name for name in imported if name.partition(".")[0] in FORBIDDEN}
    ours = {name for name in imported if name.startswith("trnbench.")}
    assert ours >= {"trnbench.protocol", "trnbench.train.worker", "trnbench.train.loop"}
    assert {name.split(".")[1] for name in ours} == {"protocol", "train"}


def test_the_ceiling_is_measured_before_and_after_training(tmp_path: Path) -> None:
    ended = train(tmp_path, replace(ORDER, measure_ceiling=True, precision="pure_bf16"), [Finish()])
    assert ended.kinds[:6] == ["probe", "environment", "ceiling", "ceiling", "build", "built"]
    ceiling, built = ended.records[3], ended.records[5]
    assert ceiling.dtype == "bfloat16"
    assert all(rate > 1e6 for point in ceiling.points for rate in point.flops_per_second)
    assert ended.kinds[-4:] == ["memory", "ceiling", "ceiling", "finished"]
    assert built.parameter_bytes == 2 * built.parameter_count


def test_losses_that_are_not_finite_are_told_as_null_and_training_goes_on(tmp_path: Path) -> None:
    wild = replace(SETTINGS, learning_rate=1e30, lr_warmup_steps=0, weight_decay=0.0)
    ended = train(
        tmp_path, replace(ORDER, optimizer=wild), [RunBlock(steps=4, purpose="warmup"), Finish()]
    )
    block = next(record for record in ended.records if record.kind == "block")
    assert block.losses[0] is not None
    assert block.losses[-1] is None
    assert block.gradient_norms[-1] is None
    assert ended.kinds[-1] == "finished"


def test_the_end_of_the_commands_ends_the_child_without_a_word(tmp_path: Path) -> None:
    ended = train(tmp_path, ORDER, [RunBlock(steps=1, purpose="warmup")])
    assert ended.kinds[-2:] == ["activity", "block"]
    assert ended.exit_code == 1
    assert "Traceback" not in ended.errors


def test_a_command_that_is_none_is_a_wrong_order(tmp_path: Path) -> None:
    ended = train(tmp_path, ORDER, b'{"kind":"run","steps":1.5,"purpose":"warmup"}\n')
    failed = ended.records[-1]
    assert (failed.kind, failed.reason) == ("failed", "wrong_order")
    assert "steps" in failed.message


def test_an_order_of_another_protocol_version_is_refused(tmp_path: Path) -> None:
    line = line_of(ORDER, wire_version=PROTOCOL_VERSION + 1, new_field="unknown")
    ended = run_child(tmp_path, line)
    failed = ended.records[-1]
    assert ended.kinds == ["failed"]
    assert failed.reason == "wrong_order"
    assert (
        failed.message == f"task of protocol version {PROTOCOL_VERSION + 1}, not {PROTOCOL_VERSION}"
    )
    assert "same trnbench" in failed.hint


def test_an_order_with_a_wrong_field_is_refused_by_its_name(tmp_path: Path) -> None:
    failed = run_child(tmp_path, line_of(ORDER, micro_batch_size="two")).records[-1]
    assert (failed.kind, failed.reason) == ("failed", "wrong_order")
    assert "micro_batch_size" in failed.message


def test_a_device_without_a_backend_is_unavailable_with_a_hint(tmp_path: Path) -> None:
    ended = train(tmp_path, replace(ORDER, backend="abacus"), [Finish()])
    failed = ended.records[-1]
    assert (failed.kind, failed.reason) == ("failed", "unavailable")
    assert "'abacus'" in failed.message
    assert "cpu" in failed.hint


def test_too_large_a_model_is_told_as_out_of_memory_with_the_vendor_s_words(
    tmp_path: Path,
) -> None:
    shape = replace(LLAMA, vocabulary_size=2**27, hidden_size=2**22)  # 2 PiB: more than addresses
    ended = train(tmp_path, replace(ORDER, shape=shape), [Finish()])
    failed = ended.records[-1]
    assert (failed.kind, failed.reason) == ("failed", "out_of_memory")
    assert failed.message.startswith("the machine has not enough memory for this model and batch: ")
    assert "can't allocate memory" in failed.message
    assert "Traceback" in failed.detail
    assert ended.exit_code == 0


def test_an_interpreter_that_has_no_memory_left_says_so(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise MemoryError\n")
    ended = run_child(tmp_path, ProbeDevices(), environment={"PYTHONPATH": str(tmp_path)})
    failed = ended.records[-1]
    assert (failed.reason, failed.message) == ("out_of_memory", "MemoryError")


def test_an_order_that_another_version_planned_is_refused(tmp_path: Path) -> None:
    failed = train(tmp_path, replace(ORDER, wire_version=4), [Finish()]).records[-1]
    assert (failed.kind, failed.reason) == ("failed", "wrong_order")
    assert failed.message == f"task of protocol version 4, not {PROTOCOL_VERSION}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"train\n", "not a line of JSON"),
        (b"[]\n", "expected an object, got list"),
        (b'{"wire_version": %d}\n' % PROTOCOL_VERSION, "unknown kind 'None'"),
        (b'{"wire_version": %d, "task": {"kind": "cook"}}\n' % PROTOCOL_VERSION, "'cook'"),
        (b'{"wire_version": %d, "task": {"kind": "train"}}\n' % PROTOCOL_VERSION, "field 'order'"),
    ],
)
def test_what_is_no_task_is_a_wrong_order(line: bytes, said: str, tmp_path: Path) -> None:
    failed = run_child(tmp_path, line).records[-1]
    assert (failed.kind, failed.reason) == ("failed", "wrong_order")
    assert said in failed.message


def test_a_child_without_a_task_ends_without_a_word(tmp_path: Path) -> None:
    ended = run_child(tmp_path, b"")
    assert (ended.exit_code, ended.records) == (1, [])


def test_a_bug_is_told_with_its_traceback(tmp_path: Path) -> None:
    ended = train(tmp_path, replace(ORDER, shape=replace(LLAMA, family="rnn")), [Finish()])
    failed = ended.records[-1]
    assert (failed.kind, failed.reason, failed.hint) == ("failed", "bug", None)
    assert "KeyError: 'rnn'" in failed.detail
