"""The file that the training interpreter is started with, by its path.

That interpreter need not have trnbench installed, and must not see the packages of the one that
has. So the package is loaded from this file's own folder, and nothing beside it becomes visible.

    echo '{"wire_version": 5, "task": {"kind": "inventory"}}' | python entry.py

Its task comes in on standard input, and after it commands (`protocol/orders.py`). Records go to the
file descriptor of `--records-fd`, by default standard output. An interpreter too old for the
package can still read this one file: it says so in a record, and ends.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = (3, 11)


def load_package() -> None:
    """Make `import trnbench` find this copy, whatever the interpreter's search path holds."""
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [entry for entry in sys.path if entry != here]
    spec = importlib.util.spec_from_file_location(
        "trnbench", PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load trnbench from {PACKAGE}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["trnbench"] = module
    spec.loader.exec_module(module)


def refusal(running: "tuple[int, int]") -> str:
    """Return the line that `protocol.Failed` would be, were this interpreter able to load it."""
    here, needed = ".".join(map(str, running)), ".".join(map(str, OLDEST_PYTHON))
    record = {
        "kind": "failed",
        "at_seconds": 0.0,
        "reason": "unavailable",
        "message": f"Python {here} runs the worker; trnbench needs {needed} or newer",
        "hint": "name an interpreter of at least that version with `--python PATH`",
        "detail": "",
    }
    return json.dumps(record)


if __name__ == "__main__":
    if sys.version_info[:2] < OLDEST_PYTHON:
        named = "--records-fd" in sys.argv
        records = int(sys.argv[sys.argv.index("--records-fd") + 1]) if named else 1
        os.write(records, refusal(sys.version_info[:2]).encode() + b"\n")
        sys.exit()
    load_package()
    from trnbench.train.worker import main

    main(sys.argv[1:])
