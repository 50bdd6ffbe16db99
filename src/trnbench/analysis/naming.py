"""How a result's work is named for people; what an imported log does not say is a question mark."""

from trnbench.schema.result import Result
from trnbench.units import say_count

NOT_SAID = "?"


def say_weights(result: Result) -> str:
    """Return the number of the model's weights, in short."""
    count = result.model.parameter_count
    return NOT_SAID if count is None else say_count(count).replace(" ", "")


def say_work(result: Result) -> str:
    """Return batch, sequence length and arithmetic, as `8x128 bf16`; alone, tokens of a step."""
    work = result.workload
    precision = work.precision or NOT_SAID
    if work.sequence_length is None and work.global_batch_size is None:
        return f"{say_count(work.tokens_per_step).replace(' ', '')} tokens {precision}"
    parts = (work.global_batch_size, work.sequence_length)
    return f"{'x'.join(NOT_SAID if each is None else str(each) for each in parts)} {precision}"
