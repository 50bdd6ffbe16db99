"""What a model can learn from the token stream at best.

Source: docs/metrics.md, "The token stream".
"""

import math


def stream_entropy(alphabet_size: int, noise: float) -> float:
    """Return the entropy of the next symbol given the last, in nats: the lowest loss there is.

    With probability `noise` the symbol is drawn anew from the whole alphabet, the predicted one
    included; else it is the predicted one.
    """
    each = noise / alphabet_size
    hit = 1 - noise + each
    missed = -(alphabet_size - 1) * each * math.log(each) if noise else 0.0
    return -hit * math.log(hit) + missed


def fill_in_entropy(alphabet_size: int, noise: float) -> float:
    """Return the entropy of a symbol given both its neighbours, in nats.

    With K symbols, h the chance of the predicted one and e = noise / K of each other: the
    neighbours agree on one with chance h^2 + (K - 1) e^2, and else each points to its own.
    """
    if not noise:
        return 0.0
    e = noise / alphabet_size
    h = 1 - noise + e
    agreeing = h**2 + (alphabet_size - 1) * e**2
    apart = 2 * h * e + (alphabet_size - 2) * e**2
    if_agreeing = [(h**2, 1), (e**2, alphabet_size - 1)]
    if_apart = [(h * e, 2), (e**2, alphabet_size - 2)]
    return agreeing * _entropy_of(if_agreeing, agreeing) + (1 - agreeing) * _entropy_of(
        if_apart, apart
    )


def _entropy_of(weights: list[tuple[float, int]], total: float) -> float:
    """Return the entropy of weights that come so many times each, in nats."""
    return -sum(count * w / total * math.log(w / total) for w, count in weights)
