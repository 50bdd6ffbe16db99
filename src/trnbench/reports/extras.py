"""Packages that not every installation has: which extra of trnbench brings each."""

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from trnbench.errors import UnavailableError

EXTRAS = {
    "pandas": "reports", "xlsxwriter": "reports", "pyarrow": "parquet", "mlflow": "mlflow",
    "wandb": "wandb", "tensorboardX": "tensorboard",
}  # fmt: skip


def require_installed(packages: Iterable[str]) -> None:
    """Look for packages without importing them.

    Raises:
        UnavailableError: some are not installed, with the command that installs them.
    """
    if missing := [each for each in packages if find_spec(each) is None]:
        raise _missing(missing)


def require(package: str) -> Any:
    """Return a package.

    Raises:
        UnavailableError: it is not installed, with the command that installs it.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise _missing([package]) from None


def _missing(packages: list[str]) -> UnavailableError:
    extras = ",".join(dict.fromkeys(EXTRAS[each] for each in packages))
    verb = "is" if len(packages) == 1 else "are"
    return UnavailableError(
        f"{' and '.join(packages)} {verb} not installed",
        hint=f"pip install 'trnbench[{extras}]'",
    )
