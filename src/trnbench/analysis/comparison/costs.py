"""What the prices of two sides have to do with each other, and the price at which they are even."""

from collections.abc import Sequence

from trnbench.analysis.break_even import Between, even_price, even_speed
from trnbench.analysis.comparison.launch import Launch
from trnbench.schema.comparison import BreakEven, Ratio, SideValue
from trnbench.schema.price import Price
from trnbench.schema.units import say_usd


def side_price(launches: Sequence[Launch]) -> Price | str:
    """Return the one price that holds for all launches of a side, the newest of equal rates.

    Returns:
        The price, or why there is none.
    """
    if not launches:
        return "no launch of this side can be used"
    prices = []
    for launch in launches:
        if launch.result.price is None:
            return launch.result.price_reason or "no price is known"
        prices.append(launch.result.price)
    rates = {
        (price.usd_per_hour, launch.result.device.instances_billed)
        for price, launch in zip(prices, launches, strict=True)
    }
    if len(rates) > 1:
        told = ", ".join(say_usd(rate) for rate, _ in sorted(rates))
        return (
            f"its launches have several rates ({told}); give one with --base-usd-per-hour or "
            "--cand-usd-per-hour"
        )
    return max(prices, key=lambda price: price.date)


def rate_ratio(base: Price | str, cand: Price | str, billed: tuple[int, int]) -> float | None:
    """Return what an hour of CAND costs, over what an hour of BASE costs; None if one is unknown.

    Args:
        base: the price of one instance of BASE's.
        cand: the price of one instance of CAND's.
        billed: how many instances each side is billed for.
    """
    if isinstance(base, str) or isinstance(cand, str):
        return None
    return float(cand.usd_per_hour) * billed[1] / (float(base.usd_per_hour) * billed[0])


def tell_prices(base: Price | str, cand: Price | str) -> str | None:
    """Say in what two prices differ beside their rate: such costs compare more than the chips."""
    if isinstance(base, str) or isinstance(cand, str):
        return None
    pairs = {
        "option": (base.option, cand.option),
        "region": (base.region or "none named", cand.region or "none named"),
        "date": (base.date.isoformat(), cand.date.isoformat()),
        "source": (base.source, cand.source),
    }
    unlike = [
        f"{key} {first} / {second}" for key, (first, second) in pairs.items() if first != second
    ]
    if not unlike:
        return None
    return f"costs are at prices of unlike terms (BASE / CAND): {'; '.join(unlike)}"


def break_even(
    speed: Ratio,
    base_speed: SideValue,
    base: Price | str,
    cand: Price | str,
    billed: tuple[int, int],
) -> BreakEven:
    """Return the rate of CAND's instance, and CAND's speed, at which a token costs the same.

    Source: docs/metrics.md, "Comparison": the rate of BASE times the ratio of the speeds; the speed
    of BASE times the ratio of the rates.

    Args:
        speed: CAND's tokens per second over BASE's.
        base_speed: BASE's tokens per second.
        base: the price of one instance of BASE's.
        cand: the price of one instance of CAND's.
        billed: how many instances each side is billed for.
    """
    return _even_rate(speed, base, billed).model_copy(
        update=_even_speed(base_speed, base, cand, billed)
    )


def _even_rate(speed: Ratio, base: Price | str, billed: tuple[int, int]) -> BreakEven:
    if isinstance(base, str):
        return BreakEven(usd_per_hour=None, reason=f"BASE has no price: {base}")
    if speed.value is None:
        return BreakEven(usd_per_hour=None, reason=speed.reason)
    of_base = float(base.usd_per_hour) * billed[0] / billed[1]
    even = even_price(of_base, Between(speed.value, speed.low, speed.high))
    return BreakEven(usd_per_hour=even.value, low=even.low, high=even.high, reason=speed.reason)


def _even_speed(
    base_speed: SideValue, base: Price | str, cand: Price | str, billed: tuple[int, int]
) -> dict[str, object]:
    """Return the fields of the speed."""
    rates = rate_ratio(base, cand, billed)
    if rates is None:
        said = f"BASE has no price: {base}" if isinstance(base, str) else f"CAND has none: {cand}"
        return {"tokens_per_second_reason": said}
    if base_speed.value is None:
        return {"tokens_per_second_reason": base_speed.reason}
    even = even_speed(Between(base_speed.value, base_speed.low, base_speed.high), rates)
    return {
        "tokens_per_second": even.value,
        "tokens_per_second_low": even.low,
        "tokens_per_second_high": even.high,
    }
