"""The xla backend on the real torch-xla, on its CPU client: its calls do what they are made for.

`make test-xla` makes the environment. Nothing here says anything of a Trainium's speed.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import pytest

pytest.importorskip("torch_xla", reason="torch-xla is not here: `make test-xla`")

import torch
import torch_xla
import torch_xla.debug.metrics as metrics

from tests.pure.train.orders import GPT2, LLAMA, make_order
from trnbench.analysis.checks.parity import TOLERANCES, find_faults
from trnbench.plan.parity import plan_gate
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import AttentionTask, MatmulTask, MoveTask, Precision, WorkOrder
from trnbench.protocol.records import FoundDevice, Parity
from trnbench.train.backends.base import Claim, Unavailable
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.backends.xla import XlaBackend
from trnbench.train.build import build_objective, make_stream
from trnbench.train.loop import StepOutcomes, TrainingStep, prepare_tokens, timed_block
from trnbench.train.microbench import make_work, repeat
from trnbench.train.models import build_model
from trnbench.train.parity import run_parity_gate

pytestmark = pytest.mark.xla


class CpuClient(XlaBackend):
    """The same backend, content with the client that is here."""

    client: ClassVar[str] = "CPU"

    @classmethod
    def find(cls) -> FoundDevice | None:
        return FoundDevice(backend="xla", device_name="xla", device_count=1, proven=False)


@pytest.fixture
def backend() -> CpuClient:
    return CpuClient.open(Claim())


def train(backend: CpuClient | CpuBackend, order: WorkOrder, steps: int) -> list[float]:
    step = TrainingStep(build_objective(order, backend), order, backend)
    stream = make_stream(order)
    outcomes = StepOutcomes()
    for tokens in prepare_tokens(stream, order, 0, steps, backend):
        step.run(tokens, outcomes)
    backend.synchronize()
    return [float(loss) for loss in outcomes.losses]


# --- claiming -------------------------------------------------------------------------------------


def test_a_cpu_client_is_never_timed_as_a_trainium(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(XlaBackend, "find", CpuClient.find)
    with pytest.raises(Unavailable, match="runs on its CPU client and not on NEURON") as refused:
        XlaBackend.open(Claim())
    assert "PJRT_DEVICE=NEURON" in refused.value.hint


def test_torch_compile_is_refused_before_anything_is_compiled() -> None:
    with pytest.raises(Unavailable, match=r"torch\.compile is not supported"):
        CpuClient.open(Claim(execution="compile"))


def test_it_says_of_itself_what_records_take(backend: CpuClient) -> None:
    assert backend.device.type == "xla"
    assert backend.device_name() == "CPU"
    assert backend.versions()["torch-xla"].startswith("2.9")
    assert {type(text) for text in backend.settings().values()} == {str}
    assert backend.token_dtype is torch.int32
    peak, why = backend.peak_memory_bytes()
    assert peak is None
    assert "neuron-monitor" in why


# --- right training -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "precision"),
    [(LLAMA, "fp32"), (LLAMA, "bf16"), (LLAMA, "pure_bf16"), (GPT2, "bf16")],
)
def test_training_is_that_of_the_cpu(shape: ModelShape, precision: Precision) -> None:
    """One layer, one pass and six steps: the CPU client takes seconds for each graph."""
    order = make_order(replace(shape, layers=1), precision=precision)
    gate = plan_gate(order)
    order = replace(order, gate=replace(gate, passes=1, steps=6))
    told = run_parity_gate(order, CpuClient.open(Claim(precision=precision)), None)
    assert list(find_faults(Parity(at_seconds=0.0, **told), TOLERANCES[precision])) == []


def test_losses_of_the_timed_loop_are_the_cpu_s(backend: CpuClient) -> None:
    order = make_order(replace(LLAMA, layers=1))
    expected = train(CpuBackend.open(Claim()), order, 5)
    assert train(backend, order, 5) == pytest.approx(expected, rel=1e-5)


def test_tied_weights_stay_one_on_the_device(backend: CpuClient) -> None:
    model = build_model(replace(LLAMA, tied_embeddings=True), 16, 7)
    before = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in model.to(backend.device).parameters()) == before


# --- compiling ------------------------------------------------------------------------------------


def test_first_steps_compile_and_later_ones_do_not(backend: CpuClient) -> None:
    order = make_order(replace(LLAMA, layers=1, intermediate_size=40))
    step = TrainingStep(build_objective(order, backend), order, backend)
    stream = make_stream(order)
    prepared = prepare_tokens(stream, order, 0, 8, backend)
    backend.synchronize()
    before = backend.compilations()
    made = []
    for tokens in prepared:
        step.run(tokens, StepOutcomes())
        backend.synchronize()
        made.append(backend.compilations().since(before).programs)
    assert made[0] is not None
    assert made[0] >= 1, "the first step is traced and compiled"
    assert made[3] == made[-1], "from the fourth step on nothing is compiled"
    told = backend.compilations().since(before)
    assert len(told.seconds) == told.programs
    assert all(seconds > 0 for seconds in told.seconds)
    assert told.cache_hits is None


def test_another_shape_compiles_anew(backend: CpuClient) -> None:
    x = torch.ones(8, 8, device=backend.device)
    (x @ x).sum().item()
    before = backend.compilations()
    (x @ x).sum().item()
    assert backend.compilations().since(before).programs == 0
    y = torch.ones(8, 9, device=backend.device)
    (x @ y).sum().item()
    programs = backend.compilations().since(before).programs
    assert programs is not None
    assert programs >= 1


# --- waiting --------------------------------------------------------------------------------------


def test_the_wait_waits_and_the_hand_over_alone_does_not(backend: CpuClient) -> None:
    """The work is a second of matrix products; handing it over takes a small part of that."""
    matrix = torch.full((1536, 1536), 1e-3, device=backend.device)

    def products(_tokens: object, outcomes: StepOutcomes) -> None:
        result = matrix
        for _ in range(24):
            result = result @ matrix
        outcomes.losses.append(result.sum())
        backend.end_step()

    def seconds(wait: Callable[[], None]) -> float:
        return timed_block(products, [object()], wait).seconds  # type: ignore[list-item]

    seconds(backend.synchronize)  # compiles
    waited = min(seconds(backend.synchronize) for _ in range(3))
    handed_over = min(_between_waits(seconds, backend) for _ in range(3))
    assert handed_over < 0.5 * waited, (handed_over, waited)


def _between_waits(seconds: Callable[..., float], backend: CpuClient) -> float:
    backend.synchronize()
    handed_over = seconds(lambda: None)
    backend.synchronize()
    return handed_over


# --- fallbacks ------------------------------------------------------------------------------------


def test_an_operator_that_the_host_had_to_do_is_counted(backend: CpuClient) -> None:
    assert torch_xla.runtime.device_type() == "CPU"
    before = backend.fallback_ops() or {}
    matrix = torch.eye(4, device=backend.device)
    torch.linalg.eigvals(matrix).cpu()
    after = backend.fallback_ops() or {}
    new = {name for name, count in after.items() if count > before.get(name, 0)}
    assert any("eig" in name for name in new), after


def test_a_training_step_falls_back_nowhere(backend: CpuClient) -> None:
    before = dict(backend.fallback_ops() or {})
    train(backend, make_order(replace(LLAMA, layers=1)), 3)
    after = dict(backend.fallback_ops() or {})
    assert after == before


def test_a_number_that_is_read_is_no_fallback(backend: CpuClient) -> None:
    before = dict(backend.fallback_ops() or {})
    assert torch.ones(3, device=backend.device).sum().item() == 3
    assert "aten::_local_scalar_dense" in backend._metrics.counter_names()
    assert backend.fallback_ops() == before


# --- single things --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["product", "move", "attention"])
def test_each_run_of_a_thing_is_carried_out_by_one_program(backend: CpuClient, kind: str) -> None:
    """What is traced and never asked for is never done: its time would be a dream."""
    tasks: dict[str, MatmulTask | MoveTask | AttentionTask] = {
        "product": MatmulTask(
            name="p", precision="fp32", m=256, n=192, k=128, layout="tn"
        ),
        "move": MoveTask(name="m", motion="triad", array_bytes=2**16),
        "attention": AttentionTask(
            name="a", precision="bf16", batch=1, heads=4, kv_heads=2, tokens=64, head_dim=16,
            passes="training",
        ),
    }  # fmt: skip
    work = make_work(backend, tasks[kind])
    backend.synchronize()
    made, done = backend.compilations().programs or 0, executions()
    timed = repeat(work, backend, repeats=3, seconds_per_repeat=0.001)
    runs = executions() - done
    assert runs >= 3 * timed.runs, "a run was traced away"
    assert (backend.compilations().programs or 0) - made <= 2, "a run was compiled anew"
    assert all(seconds > 0 for seconds in timed.seconds)


def executions() -> int:
    """Return how many programs torch-xla has had carried out."""
    found = metrics.metric_data("ExecuteReplicatedTime") or metrics.metric_data("ExecuteTime")
    return int(found[0]) if found else 0
