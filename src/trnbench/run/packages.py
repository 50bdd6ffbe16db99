"""What the training interpreter has installed, asked of itself; nothing there is imported."""

from trnbench.redact import scrub
from trnbench.run.ask import ask_worker
from trnbench.schema.errors import UnavailableError
from trnbench.wire import Inventory, TakeInventory

INVENTORY_SECONDS = 10.0


def take_inventory(python: str, seconds: float = INVENTORY_SECONDS) -> tuple[Inventory | None, str]:
    """Return what an interpreter has installed, or None with why it does not say.

    Raises:
        ConfigError: it cannot be started at all.
    """
    try:
        return ask_worker(python, TakeInventory(), Inventory, seconds), ""
    except UnavailableError as error:
        return None, scrub(str(error))
