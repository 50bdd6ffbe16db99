"""Which devices a config asks for: `auto`, a kind, `kind:1`, `kind:0-15`, or a mapping."""

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from trnbench.catalog.backends import BACKENDS
from trnbench.schema.base import Strict

KINDS = ("auto", *BACKENDS)
MOST_DEVICES = 65_536

if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[KINDS]

_NAME = re.compile(r"(?P<kind>[^:]*)(:(?P<first>[0-9]{1,5})(-(?P<last>[0-9]{1,5}))?)?")


class DeviceConfig(Strict):
    """The devices of a job: by default every one of the best kind that is here and free."""

    kind: Kind = "auto"
    """auto: the best kind that is here."""
    count: Annotated[int, Field(ge=1, le=MOST_DEVICES, examples=[16])] | None = None
    """How many; by default all that are free, of a processor one process."""
    first: Annotated[int, Field(ge=0, le=MOST_DEVICES)] | None = None
    """The index of the first, counted from 0; the others follow it."""

    def __str__(self) -> str:
        """Say it as briefly as a config can."""
        if self.first is None:
            return self.kind if self.count is None else f"{self.count} x {self.kind}"
        if self.count is None:
            return f"{self.kind} from {self.first}"
        last = self.first + self.count - 1
        return f"{self.kind}:{self.first}" + (f"-{last}" if self.count > 1 else "")

    @property
    def last(self) -> int | None:
        """The index of the last device that it names; None where it names none."""
        return None if self.first is None else self.first + (self.count or 1) - 1


def read_device(name: str) -> DeviceConfig:
    """Read the short form; a ValueError says what is wrong and, after `; `, what to write."""
    found = _NAME.fullmatch(name)
    kind = name.partition(":")[0] if found is None else found["kind"]
    if kind not in KINDS:
        raise ValueError(f"is not known; use one of {', '.join(KINDS)}")
    if found is None or (kind == "auto" and found["first"] is not None):
        shown = "cuda" if kind == "auto" else kind
        raise ValueError(f"has no index; write e.g. {shown}:0, or {shown}:0-3 for four of them")
    if found["first"] is None:
        return DeviceConfig(kind=kind)
    first = int(found["first"])
    last = first if found["last"] is None else int(found["last"])
    if last < first:
        raise ValueError(f"ends before it begins; write {kind}:{last}-{first}")
    return DeviceConfig(kind=kind, first=first, count=last - first + 1)


def _read_short_form(value: Any) -> Any:
    return read_device(value) if isinstance(value, str) else value


_ShortForm = Annotated[
    str,
    Field(
        examples=["cuda:0"],
        json_schema_extra={"pattern": f"^(auto|({'|'.join(BACKENDS)})(:[0-9]+(-[0-9]+)?)?)$"},
    ),
]

DeviceChoice = Annotated[
    DeviceConfig,
    BeforeValidator(_read_short_form, json_schema_input_type=_ShortForm | DeviceConfig),
]
"""As configs and the command line write it."""
