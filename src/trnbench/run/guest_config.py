"""Whether a config of transformers can be one, as far as it says its sizes: asked of nobody.

What it leaves to its class's defaults is not seen here; the class itself is asked later.
"""

from collections.abc import Mapping
from typing import Any

from trnbench.config.load import Conflict
from trnbench.model.external import MORE_THAN_TAKEN, MULTIPLES, SIZE_KEYS, TAKEN


def check_values(values: Mapping[str, Any]) -> None:
    """Hold the sizes that a config says against each other.

    Raises:
        Conflict: one is none, or two do not go together; both are named.
    """
    for key in sorted(SIZE_KEYS & values.keys()):
        _check_size(key, values[key])
    for larger, smaller in MULTIPLES:
        whole, part = values.get(larger), values.get(smaller)
        is_free = larger == "hidden_size" and values.get("head_dim") is not None
        if whole is not None and part is not None and not is_free and whole % part:
            raise _conflict(
                f"{larger}={whole} is not a multiple of {smaller}={part}", "change one of them"
            )
    taken = values.get(TAKEN)
    for key in MORE_THAN_TAKEN:
        if taken is not None and values.get(key) is not None and taken > values[key]:
            raise _conflict(
                f"{TAKEN}={taken} is more than {key}={values[key]}",
                "a token is sent to some of the experts",
            )


def _check_size(key: str, value: Any) -> None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (is_whole and value >= 1):
        raise _conflict(f"{key}: {value!r} is no size", "give a whole number from 1")


def _conflict(said: str, hint: str) -> Conflict:
    return Conflict(
        ("model", "huggingface"),
        f"model.config: {said}",
        hint=f"{hint}, under `model.config` or in the config.json",
    )
