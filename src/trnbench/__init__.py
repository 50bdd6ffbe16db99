"""On which chip, rented how, does a dollar train the most tokens of a transformer.

This file imports nothing: the child process loads the package under an interpreter that has
only the standard library and torch.
"""

TYPE_CHECKING = False  # as typing's, which would be an import
if TYPE_CHECKING:
    from os import PathLike
    from typing import Literal

    from pandas import DataFrame

__all__ = ["__version__", "load_results"]
__version__ = "0.1.0"


def load_results(
    *paths: "str | PathLike[str]", errors: "Literal['raise', 'warn']" = "raise"
) -> "DataFrame":
    """Return the results at or below the paths, a row each, in order of name.

    Without a path those below `results` are read. The columns are those of docs/columns.md, in that
    order, with their units in their names; a figure that is not known is missing, never 0. Needs
    pandas: `pip install 'trnbench[reports]'`.

    Args:
        paths: Folders of cases, of runs or of many runs, at any depth.
        errors: What to do about results that cannot be read: raise one error that names all of
            them, or warn of each and return the others.

    Returns:
        Whole numbers are Int64, figures float64, texts string, what holds or not boolean, days
        datetime64[ms], and times datetime64[us, UTC].

    Raises:
        trnbench.errors.ConfigError: `errors` is neither of its words.
        trnbench.errors.UnavailableError: pandas is not installed.
        trnbench.errors.DataError: a result cannot be read, a path does not exist or holds none.
    """
    from importlib import import_module  # not an `import`: no layer below may lead there

    frame: DataFrame = import_module("trnbench.api").load_results(paths, errors)
    return frame
