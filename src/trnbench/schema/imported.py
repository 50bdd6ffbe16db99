"""What a result of another program's log has in the place of a plan; null where it does not say."""

from typing import Any, Literal

from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Precision, StepSettings
from trnbench.schema.base import Strict
from trnbench.schema.plan import PlannedDevice, PlannedModel

TimeBasis = Literal["step", "interval", "cumulative", "block", "run"]
"""What a printed time is of: one step; the mean of the steps since the last line; all since the
start; a block of training between evaluations; the whole run."""

Synchronised = Literal["yes", "no", "unknown"]


class Beside(Strict):
    """What files beside a log say, where neither the user nor the log does."""

    sources: dict[str, str]
    """Of each fact, the name of its file."""
    sequence_length: int | None = None
    tokens_per_step: int | None = None
    sequences_per_step: int | None = None
    micro_batch_size: int | None = None
    accumulation: int | None = None
    precision: Precision | None = None
    model: PlannedModel | None = None
    model_name: str | None = None
    """As the file writes it."""
    device: PlannedDevice | None = None
    device_count: int | None = None
    device_name: str | None = None
    """As the file writes it."""


class Given(Strict):
    """What the user said of a log, which overrules what it says itself."""

    format: str | None = None
    run: str | None = None
    """Of a file with several runs: its number from 1, or its name."""
    sequence_length: int | None = None
    tokens_per_step: int | None = None
    precision: Precision | None = None
    model: PlannedModel | None = None
    device: PlannedDevice | None = None
    device_count: int | None = None
    """Of the devices that the job drives; null where no machine was named."""
    beside: Beside | None = None
    """What is last believed."""

    def settle(self, name: str, said: Any = None) -> Any:
        """Return a fact: the user's, else the log's, else that of a file beside the log."""
        return getattr(self, name, None) or said or getattr(self.beside, name, None)


class ImportOrder(Strict):
    """How a kept log was made into a result, so that it can be made again."""

    schema_version: Literal[1] = 1
    trnbench_version: str
    imported_at: str
    case_id: str
    file_name: str
    """Of the log, without its folder."""
    format: str
    sha256: str
    """Of the log as it was read, before names and paths were taken out."""
    lines: int
    """Of the log; those without figures are not kept."""
    is_cut_off: bool = False
    """Whether the file ended within a line or was damaged at its end."""
    given: Given


class ImportedModel(Strict):
    """A model of which the log says little; `--model` names it."""

    name: str
    reason: str
    """Why the rest is null."""
    parameter_count: int | None = None
    family: str | None = None
    active_parameter_count: int | None = None
    layers: int | None = None
    hidden_size: int | None = None
    vocabulary_size: int | None = None
    source: str = "the log"
    shape: ModelShape | None = None
    external: Any = None
    notes: tuple[str, ...] = ()

    @property
    def external_name(self) -> str | None:
        """None: no external model was built."""
        return None


class ImportedWorkload(Strict):
    """One optimizer step over all ranks, as far as log and user say."""

    reason: str
    """Why the rest is null."""
    sequence_length: int | None = None
    global_batch_size: int | None = None
    micro_batch_size: int | None = None
    gradient_accumulation_steps: int | None = None
    precision: Precision | None = None
    optimizer: str | None = None
    tokens_per_step: int
    """Of the whole job; the mean, rounded, where steps differ."""
    step: StepSettings | None = None


class ImportedSource(Strict):
    """Where an imported result is from, and what its times mean."""

    program: str
    format: str
    file_name: str
    sha256: str
    """Of the log as it was read."""
    time_basis: TimeBasis
    synchronised: Synchronised
    """Whether the program waited for the device before it read the clock."""
    scope: str
    """What the printed rates are of: the job, one device, one process."""
    device_name: str | None
    """As the log writes it."""
    device_count: int | None
    """Devices of the job; null where neither log nor user says."""
    imported_at: str
    is_date_known: bool
    """Whether the log says when it began; else `started_at` is the import's."""
