"""Models that are not ours, before a device is touched: what is asked for, and what that is.

This looks at the disk (a config.json) and asks the training interpreter; plans are made from what
it finds, and look at nothing.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trnbench.config.load import CaseConfig, Conflict
from trnbench.config.model import ModelConfig
from trnbench.model.external import TASKS
from trnbench.plan.external import Guests, KnownGuest, check_values, guest_key, is_guest
from trnbench.run.ask import ask_worker
from trnbench.schema.errors import ConfigError
from trnbench.wire import Described, DescribeModel, Guest

DESCRIBE_SECONDS = 180.0
"""Importing torch and transformers takes some ten seconds where the disk is slow."""

CLASS_NAME = re.compile(r"[A-Z]\w*")
FUNCTION_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def meet_guests(cases: Sequence[CaseConfig], python: str) -> Guests:
    """Ask the training interpreter what each guest of these cases is.

    Raises:
        ConfigError: there is no such class, function or file, or it cannot be trained.
        UnavailableError: the interpreter cannot answer.
    """
    met: dict[str, KnownGuest] = {}
    for case in cases:
        model, length = case.config.model, case.config.workload.sequence_length
        if not isinstance(model, ModelConfig) or not is_guest(model):
            continue
        key = guest_key(model, length)
        if key not in met:
            try:
                met[key] = _meet(model, length, python)
            except Conflict as conflict:
                raise case.explain(conflict) from None
            except ConfigError as error:
                kind = "huggingface" if model.python is None else "python"
                said = f"model.{kind}: {error}"
                where = Conflict(("model", kind), said, hint=error.problems[0].hint)
                raise case.explain(where) from None
    return met


def _meet(model: ModelConfig, sequence_length: int, python: str) -> KnownGuest:
    guest = guest_of(model)
    task = DescribeModel(guest=guest, sequence_length=sequence_length)
    described = ask_worker(python, task, Described, DESCRIBE_SECONDS)
    guest = replace(guest, vocabulary_size=described.vocabulary_size)
    return KnownGuest(guest, described)


def guest_of(model: ModelConfig) -> Guest:
    """Return what a config asks for; a config.json is read from the disk.

    Raises:
        Conflict: keys that do not go together, or a file or a name that cannot be one.
    """
    _check_alone(model)
    given = model.config or {}
    if model.python is not None:
        if not FUNCTION_NAME.fullmatch(model.python):
            raise Conflict(
                ("model", "python"),
                f"model.python: {model.python!r} names no function",
                hint="write package.module:function",
            )
        return Guest(
            kind="python",
            target=model.python,
            arguments=json.dumps(given, sort_keys=True),
            checked_keys=sorted(given),
        )
    target, values = _class_and_values(model.huggingface or "", given)
    task = _task_of(target)
    check_values({**values, **given})
    return Guest(
        kind="huggingface",
        target=target,
        arguments=json.dumps({**values, **given}, sort_keys=True),
        checked_keys=sorted(given),
        task=task,
    )


def _check_alone(model: ModelConfig) -> None:
    """Refuse our own sizes beside a guest, which has its own."""
    allowed = {"name", "huggingface", "python", "config", "small"}
    extra = sorted(model.model_dump(exclude_none=True).keys() - allowed)
    if model.huggingface is not None and model.python is not None:
        extra = ["python"]
    if extra:
        named = "huggingface" if model.huggingface is not None else "python"
        raise Conflict(
            ("model", extra[0]),
            f"model.{extra[0]}: does not go with model.{named}",
            hint="sizes of it stand under `model.config`, in its own words",
        )


def _class_and_values(named: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if CLASS_NAME.fullmatch(named):
        return named, {}
    path = Path(named)
    if path.suffix != ".json":
        raise Conflict(
            ("model", "huggingface"),
            f"model.huggingface: {named!r} is neither a class nor the path of a config.json",
            hint="nothing is downloaded: name a class as LlamaForCausalLM, or save the model's "
            "config.json and name that",
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise ValueError(f"it holds a {type(document).__name__}, not names with values")
        classes: Any = given.get("architectures") or document.get("architectures")
        target = classes if isinstance(classes, str) else classes[0]
    except (OSError, UnicodeDecodeError, ValueError, AttributeError) as error:
        raise Conflict(
            ("model", "huggingface"),
            f"model.huggingface: {named} cannot be read as a config: {error}",
            hint="paths count from the folder that trnbench is run in",
        ) from error
    except (TypeError, IndexError, KeyError):
        raise Conflict(
            ("model", "huggingface"),
            f"model.huggingface: {named} does not name its class",
            hint="add e.g. `architectures: [LlamaForCausalLM]` under `model.config`",
        ) from None
    return str(target), document


def _task_of(target: str) -> Any:
    for end, task in TASKS.items():
        if target.endswith(end):
            return task
    hint = f"name a class that ends in {', '.join(TASKS)}; or wrap yours with `model.python`"
    near = [end for end in TASKS if target.lower().endswith(end.lower())]
    if near:
        hint = f"did you mean {target[: -len(near[0])]}{near[0]}?"
    elif target.endswith("ForImageClassification"):
        hint = "pictures are for trnbench's own models: `model: vit-b16`, or sizes of `family: vit`"
    raise Conflict(
        ("model", "huggingface"),
        f"model.huggingface: {target} has no loss that the token stream is for",
        hint=hint,
    )
