"""Print every module with the first line of its docstring, in the order in which to read them.

README.md holds what this prints, and a test compares the two.
"""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "trnbench"

ROOMS = (
    "", "cli", "reports", "reports/comparison", "run", "plan", "machine", "wire", "train",
    "train/models", "train/layers", "train/backends", "prices", "prices/aws", "compare", "cost",
    "analysis", "analysis/checks", "analysis/metrics", "model", "catalog", "config", "schema",
)  # fmt: skip


def list_modules() -> str:
    """Return the list, a line for each room and for each module in it."""
    lines = []
    for room in ROOMS:
        folder = PACKAGE / room
        lines.append(f"{room + '/' if room else 'src/trnbench/':<18} {_purpose(folder)}")
        for path in sorted(folder.glob("*.py")):
            if path.name != "__init__.py":
                lines.append(f"  {path.name:<16} {_purpose(path)}")
    return "\n".join(lines) + "\n"


def _purpose(path: Path) -> str:
    """Return the first line of a module's docstring; of a folder, that of its `__init__.py`."""
    source = path / "__init__.py" if path.is_dir() else path
    return (ast.get_docstring(ast.parse(source.read_text())) or "").partition("\n")[0]


if __name__ == "__main__":
    print(list_modules(), end="")
