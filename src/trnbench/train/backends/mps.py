"""Apple's GPUs, by what all of torch's device modules share; the project has not run it."""

from typing import ClassVar

from trnbench.train.backends.base import Backend


class MpsBackend(Backend):
    """Trains on the GPU of an Apple processor."""

    name: ClassVar[str] = "mps"
