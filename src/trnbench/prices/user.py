"""The user's own rate: a negotiated discount, a cluster's internal price, owned hardware."""

from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.schema.price import Price


class UserRateSource:
    """Answers with the rate that the user gave, if one was given."""

    def quote(self, request: PriceRequest) -> Price | NoPrice:
        """Return the user's rate for the whole instance."""
        if request.usd_per_hour is None:
            return NoPrice("no rate was given", "give `--usd-per-hour`")
        return Price(
            usd_per_hour=request.usd_per_hour,
            instance=request.instance,
            option="user",
            region=request.region,
            date=request.today,
            source="given by the user",
        )
