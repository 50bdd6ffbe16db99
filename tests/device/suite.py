"""The tests that every accelerator must pass before its figures mean anything: a class a device.

The process that runs them never touches the device, nor imports torch: a core that it had claimed
would be missing to the processes that it starts.
"""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.command import Done, only_case, records_of, run_to_end
from tests.device.side_by_side import Job
from tests.pure.run.plans import plan_case
from trnbench.catalog.backends import backend_of
from trnbench.config.device import read_device
from trnbench.errors import UnavailableError
from trnbench.machine.neuron import look_at_neuron
from trnbench.protocol.orders import Finish, RunBlock
from trnbench.protocol.records import FoundDevice
from trnbench.run.environment import environment_of_worker
from trnbench.run.questions import probe_devices, require_device, with_chips

ROOT = Path(__file__).resolve().parents[2]
PROOFS = Path(__file__).with_name("proofs.py")
CONTRACT = ROOT / "tests" / "torch" / "train" / "backends" / "test_contract.py"

SUITE = """\
name: device suite
model: {{family: llama, layers: 2, hidden_size: 128, heads: 4, kv_heads: 2,
        intermediate_size: 256, vocabulary_size: 512, max_positions: 128, tied_embeddings: true}}
workload: {{sequence_length: 64, global_batch_size: 4, learning_rate: 0.01, precision: {precision}}}
device: "{device}"
measure: {{min_samples: 8, max_samples: 8, min_seconds: 0, relative_precision: 0.9,
          max_minutes: 45, hang_seconds: 1800}}
"""

SMALL_PEAK = (
    "--model", "tiny-gpt2", "--batch", "1", "--sequence-length", "64", "--square", "256",
    "--array-mib", "4", "--ranks", "1", "--seconds", "0.001",
)  # fmt: skip

ABOUT_TWICE = (1.6, 2.4)
LARGEST_UNWAITED = 0.5
LARGEST_CLOCK_DIFFERENCE = 0.05
COMPILING_SECONDS = 3600
"""The first compilation of even a small model is said to take minutes."""


@functools.cache
def find_device(backend: str) -> FoundDevice | str:
    """Return the device if this interpreter can use it, else why not; nothing claims it."""
    try:
        devices = with_chips(probe_devices(sys.executable), look_at_neuron())
        require_device(read_device(backend), devices)
    except UnavailableError as error:
        return str(error)
    return next(device for device in devices.found if device.backend == backend)


@pytest.mark.timeout(COMPILING_SECONDS)
class DeviceSuite:
    """What is proven of one backend; a subclass names it and carries its marker."""

    backend: ClassVar[str]

    @pytest.fixture
    def device(self, request: pytest.FixtureRequest) -> FoundDevice:
        """The device that is here; without one every test is skipped, or fails if one must be."""
        found = find_device(self.backend)
        if isinstance(found, str):
            refuse = pytest.fail if request.config.getoption("--require-device") else pytest.skip
            refuse(found)
        return found

    def variables(self, folder: Path) -> Mapping[str, str]:
        """Return what the product starts a worker with, caches of this test's own among it."""
        own = dict.fromkeys(("TORCH_NEURONX_NEFF_CACHE_DIR", "NEURON_COMPILE_CACHE_URL"))
        before = {name: value for name, value in os.environ.items() if name not in own}
        order = replace(plan_case(found=None).order, backend=self.backend)
        return {
            **before,
            **environment_of_worker(order, before, folder),
            "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }

    def prove(self, proof: str, folder: Path) -> dict[str, Any]:
        """Run one proof in a process of its own, started as the product starts its workers."""
        done = subprocess.run(
            [sys.executable, str(PROOFS), proof, self.backend],
            env=self.variables(folder), cwd=folder, capture_output=True, text=True,
            timeout=COMPILING_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    def run(
        self, folder: Path, *arguments: str, device: str | None = None, precision: str = "bf16"
    ) -> Done:
        """Run the small suite as a user would, on the first device if none is named."""
        suite = folder / "suite.yaml"
        suite.write_text(SUITE.format(device=device or f"{self.backend}:0", precision=precision))
        words = ("run", suite, "-o", folder / "out", *arguments)
        return run_to_end(words, cwd=folder, seconds=COMPILING_SECONDS)

    # --- the backend ------------------------------------------------------------------------------

    def test_it_keeps_the_contract_of_every_backend(
        self, device: FoundDevice, tmp_path: Path
    ) -> None:
        """Proves on the device what the contract's tests prove of the CPU elsewhere."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-k", self.backend, CONTRACT),
                *("-p", "no:cacheprovider", "-p", "no:cov", "-o", "filterwarnings=default"),
                *("--basetemp", tmp_path / "tests"),
            ],
            env=self.variables(tmp_path), cwd=ROOT, capture_output=True, text=True,
            timeout=COMPILING_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:]
        assert "skipped" not in done.stdout

    # --- time -------------------------------------------------------------------------------------

    def test_waiting_waits_for_the_work(self, device: FoundDevice, tmp_path: Path) -> None:
        """Proves that a block's time is the device's: it grows with the work and needs the wait."""
        told = self.prove("waiting", tmp_path)
        low, high = ABOUT_TWICE
        assert low < told["twice_over_once"] < high, told
        if told["asynchronous"]:
            assert told["unwaited_over_once"] < LARGEST_UNWAITED, told

    def test_events_and_clock_agree_where_events_are_used(
        self, device: FoundDevice, tmp_path: Path
    ) -> None:
        """Proves that two independent clocks tell the same time, or that events are not used."""
        told = self.prove("clocks", tmp_path)["events_over_clock"]
        assert told is None or abs(told - 1) < LARGEST_CLOCK_DIFFERENCE

    def test_compiling_ends_with_the_first_step(self, device: FoundDevice, tmp_path: Path) -> None:
        """Proves that no later step compiles, and that a second process finds programs made."""
        cold = self.prove("compilation", tmp_path)
        assert cold["later"] == {"graphs": 0, "programs": 0}, cold
        assert cold["first"]["graphs"] >= 1, cold
        assert cold["first"]["programs"] >= 1, "compiled programs are kept somewhere else"
        warm = self.prove("compilation", tmp_path)
        assert warm["first"] == {**cold["first"], "programs": 0}, (cold, warm)
        assert cold["first_seconds"] > 2 * cold["later_seconds"], cold

    # --- memory -----------------------------------------------------------------------------------

    def test_the_peak_of_memory_holds_what_was_allocated(
        self, device: FoundDevice, tmp_path: Path
    ) -> None:
        """Proves that the peak is the device's own, and that a reset forgets what is gone."""
        told = self.prove("memory", tmp_path)
        if told["held"] is None:
            pytest.skip(f"this device tells no peak: {told['counted']}")
        assert told["held"] - told["before"] >= 64 * 2**20, told
        assert told["after"] < told["held"], told

    # --- right training ---------------------------------------------------------------------------

    def test_training_is_that_of_the_cpu_in_every_precision(
        self, device: FoundDevice, tmp_path: Path
    ) -> None:
        """Proves, gradient by gradient and loss by loss, that the arithmetic is the same."""
        assert self.prove("parity", tmp_path) == {"fp32": [], "bf16": [], "pure_bf16": []}

    def test_nothing_falls_back_to_the_processor(self, device: FoundDevice, tmp_path: Path) -> None:
        """Proves that a step is the device's work alone, where its software tells."""
        told = self.prove("fallback", tmp_path)["fallback_ops"]
        if told is None:
            pytest.skip("this device's software does not tell")
        assert told == {}

    def test_weights_lie_on_the_device_once_and_move(
        self, device: FoundDevice, tmp_path: Path
    ) -> None:
        """Proves placement, that tied weights are one, and that the optimizer reaches them all."""
        told = self.prove("weights", tmp_path)
        assert told["places"] == [told["device"]] == [self.backend]
        assert told["elements"] == told["elements_on_cpu"]
        assert told["still"] == []

    def calls_itself(self, name: str) -> bool:
        """Tell whether a device of this kind may call itself so."""
        raise NotImplementedError

    # --- the whole --------------------------------------------------------------------------------

    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_a_run_ends_with_figures_of_this_device(
        self, device: FoundDevice, tmp_path: Path, precision: str
    ) -> None:
        """Proves the whole path, and that no figure of the processor goes under another name."""
        done = self.run(tmp_path, precision=precision)
        assert done.code == 0, done.err
        case = only_case(tmp_path / "out")
        result = json.loads((case / "result.json").read_text())
        assert result["standing"] in ("sound", "doubtful"), result["checks"]
        assert result["device"]["backend"] == self.backend
        found = result["environment"]
        assert self.calls_itself(found["device_name"]), found["device_name"]
        assert found["threads"] is None
        assert result["metrics"]["tokens_per_second"]["value"] > 0
        checks = {check["name"]: check["verdict"] for check in result["checks"]}
        for name in ("placement", "parity", "movement", "parameters", "initial_loss"):
            assert checks[name] == "sound", (name, checks)
        (built,) = [r for r in records_of(case) if r["kind"] == "built"]
        assert all(place.startswith(self.backend) for place in built["placement"])

    def measure_peak(self, folder: Path, *arguments: str) -> dict[str, Any]:
        """Return what `trnbench peak` writes of small products on one device."""
        words = ("peak", "--device", self.backend, *SMALL_PEAK, "-o", folder / "peak", *arguments)
        done = run_to_end(words, cwd=folder, seconds=COMPILING_SECONDS)
        assert done.code == 0, done.err
        document: dict[str, Any] = json.loads((folder / "peak" / "peak.json").read_text())
        return document

    def test_its_ceilings_are_measured(self, device: FoundDevice, tmp_path: Path) -> None:
        """Proves that products, memory and attention can be timed one by one."""
        made = self.measure_peak(tmp_path)
        assert made["environment"]["backend"] == self.backend
        assert {each["group"] for each in made["readings"]} == {
            "square", "model", "memory", "attention",
        }  # fmt: skip
        for each in made["readings"]:
            assert each["seconds"], each
            assert min(each["seconds"]) > 0, each

    def test_two_jobs_run_side_by_side_on_two_devices(
        self, device: FoundDevice, tmp_path: Path
    ) -> None:
        """Proves that a job claims the device that it was given, and no other: both at once."""
        if device.device_count < 2:
            pytest.skip("there is one device only")
        order = plan_case({"device": self.backend, "workload.precision": "fp32"}, found=None).order
        jobs: list[Job] = []
        try:
            for index in (0, 1):
                # One after the other: two that start at once can both fail on Neuron.
                jobs.append(Job(replace(order, device_index=index, gate=None), tmp_path))
                jobs[-1].hear("train")
            for job in jobs:
                job.tell(RunBlock(steps=3, purpose="warmup"))
            losses = [job.hear("block").losses for job in jobs]
            for job in jobs:
                job.tell(Finish())
                job.hear("finished")
        finally:
            for job in jobs:
                job.end()
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)

    def test_two_ranks_train_what_one_device_trains(
        self, device: FoundDevice, tmp_path: Path
    ) -> None:
        """Proves the device's own process group, on replicas (DDP) and on shards (FSDP2).

        Ranks are on devices of their own, agree with each other, and have the losses of one device.
        """
        if device.device_count < 2:
            pytest.skip("there is one device only")
        alone = self.losses_of(tmp_path / "alone", f"{self.backend}:0")
        for axis in ("replicate", "shard"):
            folder = tmp_path / axis
            sizes = ("--set", f"parallel.data_parallel_{axis}_size=2")
            assert self.losses_of(folder, self.backend, *sizes) == pytest.approx(alone, rel=1e-4)
            case = only_case(folder / "out")
            seats = [record for record in records_of(case) if record["kind"] == "seated"]
            assert len({seat["device_id"] for seat in seats}) == 2, seats
            group = backend_of(self.backend).process_group
            assert [seat["process_group"] for seat in seats] == [group] * 2
            result = json.loads((case / "result.json").read_text())
            checks = {check["name"]: check["verdict"] for check in result["checks"]}
            for name in ("parity", "seats", "agreement", "placement", "movement"):
                assert checks[name] == "sound", (axis, name, result["checks"])

    def test_four_ranks_that_split_and_shard_agree(
        self, device: FoundDevice, tmp_path: Path
    ) -> None:
        """Proves tensor ranks in shards, the layout of a whole Trainium: two of each."""
        if device.device_count < 4:
            pytest.skip("there are fewer than four devices")
        sizes = [f"parallel.{name}_size=2" for name in ("data_parallel_shard", "tensor_parallel")]
        words = [word for size in sizes for word in ("--set", size)]
        done = self.run(tmp_path, *words, device=self.backend, precision="fp32")
        assert done.code == 0, done.err
        result = json.loads((only_case(tmp_path / "out") / "result.json").read_text())
        checks = {check["name"]: check["verdict"] for check in result["checks"]}
        assert {checks[name] for name in ("parity", "seats", "agreement")} == {"sound"}, result

    def test_a_job_takes_every_device_unless_it_is_told_otherwise(
        self, device: FoundDevice, tmp_path: Path
    ) -> None:
        """Proves the whole machine as one job: a rank on each device, none idle, links timed."""
        if device.device_count < 2:
            pytest.skip("there is one device only")
        ranks = device.device_count
        batch = ("--set", f"workload.global_batch_size={ranks}")
        done = self.run(tmp_path, *batch, device=self.backend)
        assert done.code == 0, done.err
        case = only_case(tmp_path / "out")
        result = json.loads((case / "result.json").read_text())
        assert result["parallel"]["world_size"] == ranks
        seats = [record for record in records_of(case) if record["kind"] == "seated"]
        assert len({seat["device_id"] for seat in seats}) == ranks, seats
        (timed,) = [record for record in records_of(case) if record["kind"] == "all_reduce"]
        assert (timed["ranks"], min(timed["seconds"]) > 0) == (ranks, True), timed
        checks = {check["name"]: check for check in result["checks"]}
        for name in ("parity", "seats", "agreement", "placement"):
            assert checks[name]["verdict"] == "sound", (name, result["checks"])
        assert "idle" not in checks["idle_devices"]["evidence"]

    def losses_of(self, folder: Path, device: str, *arguments: str) -> list[float]:
        """Return the losses of the first steps of a run in fp32."""
        folder.mkdir()
        done = self.run(folder, *arguments, device=device, precision="fp32")
        assert done.code == 0, done.err
        blocks = [r for r in records_of(only_case(folder / "out")) if r["kind"] == "block"]
        return [loss for block in blocks for loss in block["losses"]][:3]

    def test_a_device_that_is_not_there_is_refused(
        self, device: FoundDevice, tmp_path: Path
    ) -> None:
        """Proves that an index out of range falls on no other device."""
        done = self.run(tmp_path, device=f"{self.backend}:{device.device_count}")
        assert done.code == 3
        assert f"there are {device.device_count}, counted from 0" in done.err
