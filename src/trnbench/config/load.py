"""From a YAML file to checked configs, one for each case, with every fault at its line."""

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from trnbench.catalog.models import models
from trnbench.config.explain import (
    MAX_PROBLEMS,
    OptionText,
    Places,
    covers,
    explain_faults,
    say_set,
    say_value,
)
from trnbench.config.model import Config
from trnbench.config.sweep import SPREAD_ABOVE, cells
from trnbench.config.yaml import Document, parse_value
from trnbench.errors import ConfigError, Problem

MAX_CASES = 100_000
"""Of one run: a folder of results has a folder for each. Of a larger sweep a part is measured."""

Case = TypeVar("Case")
Done = TypeVar("Done")


class Conflict(Exception):  # noqa: N818 - a finding, which gets its line and becomes a ConfigError
    """Values that are each fine and do not fit together."""

    def __init__(self, key: str, fault: str, *, hint: str, others: Sequence[str] = ()) -> None:
        """Blame the dotted `key`, or one of `others` where `--set` or the sweep gave that one."""
        super().__init__(f"{key}: {fault}")
        self.message, self.hint = f"{key}: {fault}", hint
        self.path, *self.others = (tuple(each.split(".")) for each in (key, *others))
        self.more: tuple[Conflict, ...] = ()
        """What else was found beside it."""


def check_all(*checks: Callable[[], Any]) -> list[Any]:
    """Make every check and return what they return; one conflict has all that are found."""
    found: list[Conflict] = []
    returned = []
    for check in checks:
        try:
            returned.append(check())
        except Conflict as conflict:
            found += [conflict, *conflict.more]
    if found:
        found[0].more = tuple(found[1:])
        raise found[0]
    return returned


@dataclass(frozen=True, slots=True)
class CaseConfig:
    """One case of a suite: its config, what the sweep set, and where to point for a fault."""

    config: Config
    swept: Mapping[str, Any]
    places: Places

    def explain(self, conflict: Conflict) -> ConfigError:
        """Give a conflict, and those that were found beside it, their files and lines."""
        return ConfigError.of(map(self._problem, (conflict, *conflict.more)))

    def _problem(self, conflict: Conflict) -> Problem:
        paths = (conflict.path, *conflict.others)
        blamed = next((path for path in paths if self.places.is_chosen(path)), conflict.path)
        return Problem(f"{self.places.where(blamed)}: {conflict.message}", conflict.hint)


@dataclass(frozen=True, slots=True)
class Suite:
    """A checked document, whose sweep is not expanded yet: it may have a million cases."""

    config: Config
    data: dict[str, Any]
    """Of the document, with what `--set` replaced."""
    places: Places

    @property
    def count(self) -> int:
        """Cases that its sweep makes; 1 without one."""
        return math.prod(map(len, self.config.sweep.values()))

    @property
    def where(self) -> str:
        """Where its sweep is written."""
        return self.places.where(("sweep",))

    def cases(self, most: int | None = None) -> list[CaseConfig]:
        """Return its cases in the order in which they are measured, `most` of them at most.

        Raises:
            ConfigError: what is wrong with any of them.
        """
        sweep = self.config.sweep
        if not sweep:
            return [CaseConfig(self.config, {}, self.places)]
        if min(self.count, most or self.count) > MAX_CASES:
            raise ConfigError(
                f"{self.where}: sweep makes {self.count:,} cases",
                hint=f"a run has at most {MAX_CASES:,}: shorten a list, or let `trnbench run "
                "--max-cases N` measure a part that is spread over all of them",
            )
        order = self.config.sweep_order
        is_spread = order == "spread" or (order == "auto" and self.count > SPREAD_ABOVE)
        swept = (
            {key: values[at] for (key, values), at in zip(sweep.items(), cell, strict=True)}
            for cell in cells([*map(len, sweep.values())], is_spread=is_spread)
        )
        return for_each(itertools.islice(swept, most), partial(_check_case, self.data, self.places))


def check_document(
    document: Document, overrides: Mapping[str, str] | None = None
) -> list[CaseConfig]:
    """Check a parsed document, expand its sweep, and return its cases in order."""
    return open_suite(document, overrides).cases()


def open_suite(document: Document, overrides: Mapping[str, str] | None = None) -> Suite:
    """Check a parsed document, but for what each case of its sweep makes of it.

    Args:
        document: of one YAML file.
        overrides: dotted keys and YAML values from `--set`, applied before anything is checked.

    Raises:
        ConfigError: everything that is wrong, each with file, line, key, value and what to do.
    """
    overrides = overrides or {}
    values = {key: parse_value(str(text), _option(key, text)) for key, text in overrides.items()}
    data = document.data
    if isinstance(data, dict):
        data = copy.deepcopy(data)
        for key, value in values.items():
            _set(data, key, value, say_set(key, overrides[key]))
        _add_defaults(data, document.source)
    places = Places(document, overrides)
    suite = _validate(data, places)
    _check_sweep(suite.sweep, overrides, places)
    return Suite(suite, data, places)


def _check_case(data: dict[str, Any], places: Places, swept: Mapping[str, Any]) -> CaseConfig:
    one = copy.deepcopy(data)
    del one["sweep"]
    for key in sorted(swept, key=lambda key: key.count(".")):  # a part after its whole
        _set(one, key, copy.deepcopy(swept[key]), places.where(("sweep", key)))
    places = replace(places, swept=swept)
    return CaseConfig(_validate(one, places), swept, places)


def for_each(cases: Iterable[Case], do: Callable[[Case], Done]) -> list[Done]:
    """Return what is made of each case; a ConfigError has what is wrong with any of them, once."""
    done, problems = [], dict[Problem, None]()
    for case in cases:
        try:
            done.append(do(case))
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise ConfigError.of([*problems][:MAX_PROBLEMS])
    return done


def _add_defaults(data: dict[str, Any], source: str) -> None:
    """Name the suite after its file, and give it a model where each case's is swept."""
    data.setdefault("name", Path(source).stem[:120] or "unnamed")
    if "model" in (data.get("sweep") or ()):
        data.setdefault("model", next(iter(models())))


def _option(key: str, text: str) -> str:
    return text.typed.split()[0] if isinstance(text, OptionText) else f"--set {key}"


def _check_sweep(sweep: Iterable[str], overrides: Mapping[str, str], places: Places) -> None:
    """Refuse what one case cannot hold: a sweep in a sweep, two values for one key."""
    for key in sweep:
        where = places.where(("sweep", key))
        if covers("sweep", key):
            raise ConfigError(f"{where}: sweep.{key}: a sweep cannot be swept", hint="remove it")
        for given, text in overrides.items():
            if covers(key, given):
                typed = say_set(given, text)
                raise ConfigError(
                    f"{typed}: {key} is swept ({where})",
                    hint=f"leave one out, or write `--set sweep={{}}` beside `{typed}`",
                )


def _set(data: dict[str, Any], dotted: str, value: Any, where: str) -> None:
    """Put `value` at a dotted key, making the mappings on the way."""
    *parents, last = dotted.split(".")
    if parents[:1] == ["sweep"]:  # its keys have dots of their own
        parents, last = ["sweep"], dotted.partition(".")[2]
    node = data
    for done, key in enumerate(parents, start=1):
        if parents[:done] == ["model"] and isinstance(node.get(key), str):
            node[key] = {"base": node[key]}  # `model: NAME` is short for `model: {base: NAME}`
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            inside = ".".join(parents[:done])
            raise ConfigError(
                f"{where}: {dotted}: {inside} is {say_value(child)}, not a mapping",
                hint="check the key; `trnbench schema config` lists them",
            )
        node = child
    node[last] = value


def _validate(data: Any, places: Places) -> Config:
    try:
        return Config.model_validate(data)
    except pydantic.ValidationError as error:
        raise ConfigError.of(explain_faults(error, places.where, Config)) from None
