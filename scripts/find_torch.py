"""Tell set-up which torch an interpreter has, without importing it.

    PYTHON find_torch.py FOLDER CONSTRAINTS

Writes into FOLDER: `folders.txt`, where the torch lies (empty if there is none); `pins.txt`, the
constraints for pip. What that torch needs is pinned to what is there, and taken out of our own
constraints, so that pip leaves all of it as it is. Prints the torch's version. Standard library
only: it runs under the interpreter that is looked at.
"""

import re
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

ALSO_KEPT = ("numpy",)
"""torch is built against one major version of it, and names it nowhere."""


def needed_by_torch() -> dict[str, str]:
    """Return torch, all that it needs, and their versions, as far as they are here."""
    found: dict[str, str] = {}
    waiting = ["torch", *ALSO_KEPT]
    while waiting:
        name = normal(waiting.pop())
        if name in found:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = distribution.version
        waiting += [
            re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            for requirement in distribution.requires or ()
            if "extra ==" not in requirement
        ]
    return found


def normal(name: str) -> str:
    """Spell a package's name as indexes do (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main(folder: Path, constraints: Path) -> None:
    """Write the two files."""
    found = needed_by_torch()
    has_torch = "torch" in found
    kept = found if has_torch else {}
    ours = [
        line
        for line in constraints.read_text().splitlines()
        if normal(re.split(r"[=<>~!]", line)[0].strip()) not in kept
    ]
    pins = [f"{name}=={version}" for name, version in sorted(kept.items())]
    (folder / "pins.txt").write_text("\n".join([*ours, *pins]) + "\n")
    places = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (folder / "folders.txt").write_text("".join(f"{p}\n" for p in places) if has_torch else "")
    print(found.get("torch", ""))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
