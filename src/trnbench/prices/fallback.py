"""Ask the cloud, and where it gives no rate take the table's, with both said."""

from dataclasses import dataclass, replace

from trnbench.prices.base import NoPrice, PriceRequest, PriceSource
from trnbench.schema.price import Price


@dataclass(frozen=True, slots=True)
class LiveOrTable:
    """Answers as `live` does; where that has no rate, as `table`, and says since when and why."""

    live: PriceSource
    table: PriceSource

    def quote(self, request: PriceRequest) -> Price | NoPrice:
        """Return the live rate, else the table's with the reason in its note."""
        answer = self.live.quote(request)
        if isinstance(answer, Price):
            return answer
        kept = self.table.quote(request)
        if isinstance(kept, NoPrice):
            if kept.reason == answer.reason:
                return kept
            return replace(kept, reason=f"{kept.reason}; live: {answer.reason}")
        why = f"the table's rate of {kept.date}, because {answer.reason}"
        return kept.model_copy(update={"note": f"{kept.note}; {why}" if kept.note else why})
