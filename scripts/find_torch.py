"""Tell set-up which torch an interpreter has, without importing it.

    PYTHON find_torch.py FOLDER CONSTRAINTS

Writes into FOLDER: `folders.txt`, where the interpreter keeps its packages, and where its torch
lies if that is elsewhere (empty if it has no torch); `pins.txt`, the constraints for pip. What that
torch needs is pinned to what is there, and taken out of our own constraints, so that pip leaves all
of it as it is. Prints the torch's version. Standard library only: it runs under the interpreter
that is looked at.
"""

import re
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

ALSO_KEPT = ("numpy",)
"""torch is built against one major version of it, and names it nowhere."""


def needed_by_torch() -> dict[str, metadata.Distribution]:
    """Return torch and all that it needs, as far as they are here."""
    found: dict[str, metadata.Distribution] = {}
    waiting = ["torch", *ALSO_KEPT]
    while waiting:
        name = normal(waiting.pop())
        if name in found:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = distribution
        waiting += [
            re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            for requirement in distribution.requires or ()
            if "extra ==" not in requirement
        ]
    return found


def normal(name: str) -> str:
    """Spell a package's name as indexes do (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def folders_of(found: dict[str, metadata.Distribution]) -> list[str]:
    """Return where packages are kept and where these lie, in the order of the search path."""
    wanted = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    wanted |= {Path(str(distribution.locate_file(""))) for distribution in found.values()}
    return [place for place in dict.fromkeys(sys.path) if Path(place) in wanted]


def main(folder: Path, constraints: Path) -> None:
    """Write the two files."""
    found = needed_by_torch()
    if "torch" not in found:
        found = {}
    ours = [
        line
        for line in constraints.read_text().splitlines()
        if normal(re.split(r"[=<>~!]", line)[0].strip()) not in found
    ]
    pins = [f"{name}=={found[name].version}" for name in sorted(found)]
    (folder / "pins.txt").write_text("\n".join([*ours, *pins]) + "\n")
    places = folders_of(found) if found else []
    (folder / "folders.txt").write_text("".join(f"{place}\n" for place in places))
    print(found["torch"].version if found else "")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
