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
