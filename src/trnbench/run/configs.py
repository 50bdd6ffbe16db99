"""What a CONFIG argument means: a path, a config that ships with the package, or a model's name."""

from importlib import resources
from pathlib import Path

from trnbench.catalog.models import models
from trnbench.config.yaml import Document, read_document
from trnbench.errors import ConfigError, did_you_mean

DEFAULT_CONFIG = "quick"


def shipped_configs() -> dict[str, Path]:
    """Return the configs in the package by name."""
    folder = Path(str(resources.files("trnbench"))) / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def open_config(named: str) -> Document:
    """Read what a CONFIG argument means: a path, a shipped config, or a model of the catalog alone.

    Raises:
        ConfigError: it is none of these, or its file cannot be read.
    """
    if not named.strip():
        raise ConfigError("CONFIG is empty", hint="name a YAML file, a config or a model")
    path = Path(named)
    if path.exists() or path.suffix in (".yaml", ".yml", ".json") or "/" in named:
        return read_document(path)
    shipped = shipped_configs()
    # `llama3.2-1b` has a dot of its own, so a name is looked up whole.
    if named in shipped:
        return read_document(shipped[named])
    if named in models():
        return Document(named, {"name": named, "model": named}, {})
    rest = f"Configs: {', '.join(shipped)}; `trnbench models` lists the models"
    raise ConfigError(
        f"{named}: is neither a file, nor a config that ships with trnbench, nor a model",
        hint=did_you_mean(named, {**shipped, **dict.fromkeys(models())}, rest, most=2, cutoff=0.5),
    )
