"""A worker without a process: it takes commands and answers with blocks of scripted times."""

from collections.abc import Callable, Iterable
from itertools import repeat

from trnbench.protocol.orders import Finish, Purpose, RunBlock
from trnbench.protocol.records import Block
from trnbench.run.stopping import StoppingRule
from trnbench.schema.measurement import Decision
from trnbench.schema.plan import MeasureConfig


def make_measure(**changes: float | None) -> MeasureConfig:
    """Return limits that only a test's own changes let anything reach."""
    limits: dict[str, float | None] = {
        "relative_precision": 0.01,
        "min_samples": 50,
        "max_samples": 1000,
        "min_seconds": 0.0,
    }
    return MeasureConfig.model_validate(limits | changes)


def make_block(command: RunBlock, first_step: int, seconds: float) -> Block:
    """Return the block that a worker would send, with fine losses."""
    return Block(
        at_seconds=0.0,
        purpose=command.purpose,
        first_step=first_step,
        steps=command.steps,
        seconds=seconds,
        prepare_seconds=0.0,
        losses=[1.0] * command.steps,
        gradient_norms=[1.0] * command.steps,
        oracle_losses=[0.7] * command.steps,
    )


class ScriptedWorker:
    """Runs what a rule commands; remembers it all."""

    def __init__(
        self,
        rule: StoppingRule,
        step_seconds: Iterable[float],
        wait_seconds: float = 0.0,
        spend: Callable[[float], bool] = lambda elapsed: False,
    ) -> None:
        """Prepare.

        Args:
            rule: which commands.
            step_seconds: each step's own time.
            wait_seconds: what waiting for the device costs once a block.
            spend: tells from the elapsed time whether the budget is gone.
        """
        self._rule = rule
        self._step_seconds = iter(step_seconds)
        self._wait_seconds = wait_seconds
        self._is_spent = spend
        self.commands: list[RunBlock] = []
        self.choices: list[Decision] = []
        self.seconds = 0.0
        self.steps = 0

    def run(self) -> "ScriptedWorker":
        """Obey until told to finish."""
        while isinstance(command := self._next(), RunBlock):
            self.commands.append(command)
            own = sum(next(self._step_seconds) for _ in range(command.steps))
            block = make_block(command, self.steps, own + self._wait_seconds)
            self.steps += command.steps
            self.seconds += block.seconds
            self._rule.observe(block)
        return self

    def _next(self) -> RunBlock | Finish:
        command = self._rule.next_command(is_out_of_budget=self._is_spent(self.seconds))
        self.choices += self._rule.take_decisions()
        return command

    def blocks(self, purpose: Purpose) -> list[int]:
        """Return the steps of each block of one purpose."""
        return [command.steps for command in self.commands if command.purpose == purpose]

    def chosen(self, what: str) -> list[Decision]:
        """Return what was decided of one kind."""
        return [choice for choice in self.choices if choice.what == what]

    @property
    def stop(self) -> str:
        """Return the one reason for stopping."""
        (choice,) = self.chosen("stop")
        return choice.why.partition(":")[0]


def steady(seconds: float) -> Iterable[float]:
    """Return steps that all take the same time."""
    return repeat(seconds)
