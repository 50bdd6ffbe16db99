"""The one base of every model that crosses a file: frozen, strict, no unknown keys, no NaN."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A value that cannot change, and that refuses unknown keys."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        defer_build=True,  # a command builds the readers of the files that it reads, and no other
    )
