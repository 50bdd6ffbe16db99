"""Print every module with the first line of its docstring, room by room, as docs/map.md has it.

    python scripts/list_modules.py > docs/map.md

Rooms stand in the order of the layers that import-linter holds (pyproject.toml), from the command
line down to the facts; a room inside a room follows it.
"""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "trnbench"

HEADING = """# Every module in one line

Made by `python scripts/list_modules.py > docs/map.md`.

```
"""


def list_modules() -> str:
    """Return the page, a line for each room and for each module in it."""
    lines = []
    for folder in rooms():
        room = folder.relative_to(PACKAGE).as_posix()
        lines.append(f"{'src/trnbench' if room == '.' else room}/".ljust(22) + _purpose(folder))
        for path in sorted(folder.glob("*.py")):
            if path.name != "__init__.py":
                lines.append(f"  {path.name:<20}{_purpose(path)}")
    return HEADING + "\n".join(lines) + "\n```\n"


def rooms() -> Iterator[Path]:
    """Yield every folder that has code, layer by layer."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each["type"] == "layers"]
    names = [name.strip() for layer in contract["layers"] for name in layer.split("|")]
    yield PACKAGE
    for name in [*names, *contract["exhaustive_ignores"]]:
        folders = {path.parent for path in (PACKAGE / name).rglob("*.py")}
        yield from sorted(folders)


def _purpose(path: Path) -> str:
    """Return the first line of a module's docstring; of a folder, that of its `__init__.py`."""
    source = path / "__init__.py" if path.is_dir() else path
    return (ast.get_docstring(ast.parse(source.read_text())) or "").partition("\n")[0]


if __name__ == "__main__":
    print(list_modules(), end="")
