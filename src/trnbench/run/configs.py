"""The configs that ship with the package, by name; a path stands for itself."""

from importlib import resources
from pathlib import Path

from trnbench.errors import ConfigError, did_you_mean

DEFAULT_CONFIG = "quick"


def shipped_configs() -> dict[str, Path]:
    """Return the configs in the package by name."""
    folder = Path(str(resources.files("trnbench"))) / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(named: str) -> Path:
    """Return the file that a CONFIG argument means: a path, or the name of a shipped config."""
    path = Path(named)
    if path.exists() or path.suffix in (".yaml", ".yml") or "/" in named:
        return path
    shipped = shipped_configs()
    # `llama3.2-1b` has a dot of its own, so a name is looked up whole.
    if named in shipped:
        return shipped[named]
    rest = f"Those are: {', '.join(shipped)}"
    raise ConfigError(
        f"{named}: is neither a file nor a config that ships with trnbench",
        hint=did_you_mean(named, shipped, rest, most=2, cutoff=0.5),
    )
