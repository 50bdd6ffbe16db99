"""The file that the training interpreter is started with, by its path.

That interpreter need not have trnbench installed, and must not see the packages of the one that
has. So the package is loaded from this file's own folder, and nothing beside it becomes visible.

    python -P entry.py probe              prints which devices are here
    python -P entry.py train PLAN.json    trains as the plan's order says

Records go to the file descriptor of `--records-fd`, by default standard output; commands come in
on standard input.
"""

import importlib.util
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


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


if __name__ == "__main__":
    load_package()
    from trnbench.train.worker import main

    main(sys.argv[1:])
