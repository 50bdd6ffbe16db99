"""External models: their loss, and modules of the user's (huggingface.py has transformers')."""

import contextlib
import importlib
import inspect
import json
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

from trnbench.protocol.model import ExternalModel
from trnbench.protocol.orders import Precision
from trnbench.train.channel import KnownFailure, first_line
from trnbench.train.models.base import rows_at
from trnbench.train.objective import Losses, Trainable

VOCABULARY_NAMES = ("vocabulary_size", "vocab_size")
BALANCE_COEFFICIENTS = ("router_aux_loss_coef", "aux_loss_coef")
"""Names, in a config of transformers, of the balance loss's weight; without one it has none."""


class BadModel(KnownFailure):
    """An external model that cannot be built or trained."""

    hint: str

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message, reason="bad_model", hint=hint)


class ExternalObjective(Trainable):
    """An external model with its loss: ours on a class's logits, or the loss a module returns.

    In `bf16` it runs under torch's autocast.
    """

    def __init__(self, module: nn.Module, external: ExternalModel, precision: Precision) -> None:
        super().__init__()
        self.model = module
        self.external = external
        self.precision: Precision = precision
        self.extra: dict[str, torch.Tensor] = {}
        """Arguments of a class beside its tokens."""
        # Looked up here: code that a compiler traces must not look for methods.
        self._own_step: Callable[..., Any] = getattr(module, "training_step", module)
        config = getattr(module, "config", None)
        found = [getattr(config, name) for name in BALANCE_COEFFICIENTS if hasattr(config, name)]
        self._balance_coefficient: float = found[0] if found else 0.0

    def forward(
        self, inputs: torch.Tensor, targets: torch.Tensor, positions: torch.Tensor | None = None
    ) -> Losses:
        """Return the losses of one pass."""
        with autocast(inputs.device, self.precision):
            if self.external.kind == "python":
                loss = loss_of(self._own_step(inputs, targets), self.external.target).float()
                return Losses(loss, loss.detach(), None)
            made = self.model(input_ids=inputs, use_cache=False, **self.extra)
        rows = rows_at(made.logits, positions)
        entropy = F.cross_entropy(rows.flatten(0, -2).float(), targets.flatten())
        total = entropy
        balance = getattr(made, "aux_loss", None)
        if balance is not None and self._balance_coefficient:
            total = entropy + self._balance_coefficient * balance.to(entropy.device)
        return Losses(total, entropy.detach(), None)


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[None]:
    """Return the context of forward passes: bf16 matmuls over fp32 weights, or none."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def loss_of(returned: Any, target: str) -> torch.Tensor:
    """Find the loss in what a module returns: itself, `.loss`, `["loss"]`, or a tuple's first."""
    found = returned
    if isinstance(found, dict):
        found = found.get("loss")
    elif isinstance(found, tuple | list) and not hasattr(found, "loss"):
        found = found[0] if found else None
    elif not isinstance(found, torch.Tensor):
        found = getattr(found, "loss", None)
    if isinstance(found, torch.Tensor) and found.ndim == 0 and found.is_floating_point():
        return found
    what = type(returned).__name__
    if isinstance(found, torch.Tensor):
        what = f"a {str(found.dtype).removeprefix('torch.')} tensor of shape {tuple(found.shape)}"
    raise BadModel(
        f"{target}: the module returns no loss, but {what}",
        hint="return the mean loss of `forward(inputs, targets)`: a scalar, or `.loss`, or a dict "
        "or tuple that has it",
    )


def build_external(external: ExternalModel, seed: int) -> nn.Module:
    """Build an external model in fp32 on torch's default device, its weights drawn from this seed.

    Raises:
        BadModel: there is no such class or function, or it refuses its arguments.
    """
    torch.manual_seed(seed)
    if external.kind == "python":
        return _python(external).train()
    # Imported here: it needs this module's words for what is wrong.
    from trnbench.train.huggingface import build_class

    return build_class(external).train()


def vocabulary_of(module: nn.Module, target: str) -> int:
    """Return the size of a module's vocabulary, by attribute, config or its only embedding."""
    for place in (module, getattr(module, "config", None)):
        for name in VOCABULARY_NAMES:
            size = getattr(place, name, None)
            if isinstance(size, int):
                return size
    sizes = {m.num_embeddings for m in module.modules() if isinstance(m, nn.Embedding)}
    if len(sizes) == 1:
        return sizes.pop()
    raise BadModel(
        f"{target}: the module does not say how many tokens it knows",
        hint="give it an attribute `vocabulary_size`",
    )


def is_tied(module: nn.Module) -> bool:
    """Tell whether an embedding's weight is also that of a linear layer."""
    tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    return any(id(m.weight) in tables for m in module.modules() if isinstance(m, nn.Linear))


@contextlib.contextmanager
def blaming(external: ExternalModel, doing: str, hint: str) -> Iterator[None]:
    """Raise `BadModel` for any error of an external model's code, its `SystemExit` included."""
    try:
        yield
    except BadModel:
        raise
    except (Exception, SystemExit) as error:
        kind = type(error).__name__
        said = "" if first_line(error) == kind else f": {first_line(error)}"
        raise BadModel(
            f"{external.target}: {doing} raised {kind}{said}{_place_of(error)}", hint=hint
        ) from error


def _place_of(error: BaseException) -> str:
    """Return the last line of the user's code that an error came through, if any."""
    libraries = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    ours = str(Path(__file__).parents[1])
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((*libraries, ours, "<"))
    ]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


# --- modules of the user's ------------------------------------------------------------------------


def _python(external: ExternalModel) -> nn.Module:
    package, _, function = external.target.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - an entry of sys.path is text
        sys.path.append(os.getcwd())  # noqa: PTH109
    with blaming(external, f"importing {package}", "it is imported to be built: mend it"):
        imported = import_or_refuse(
            package, "install it for that interpreter, or run from where it is"
        )
        build = getattr(imported, function, None)
    if not callable(build):
        raise BadModel(
            f"{package} has no function {function}", hint="write `python: package.module:function`"
        )
    arguments: dict[str, Any] = json.loads(external.arguments)
    try:
        inspect.signature(build).bind(**arguments)
    except TypeError as error:
        raise BadModel(
            f"{external.target}: {error}", hint="`model.config` holds its arguments by name"
        ) from error
    with blaming(external, "building it", "`model.config` holds the arguments of that function"):
        module = build(**arguments)
    if not isinstance(module, nn.Module):
        raise BadModel(
            f"{external.target} returns {type(module).__name__}, not a torch.nn.Module",
            hint="return the module; its `forward(inputs, targets)` returns the loss",
        )
    return module


def import_or_refuse(name: str, hint: str) -> Any:
    """Import a module, or raise `BadModel`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BadModel(f"cannot import {name}: {first_line(error)}", hint=hint) from error
