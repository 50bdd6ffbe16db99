"""A dated table of rates: the bundled one, or the user's own.

Nothing is filled in from a neighbour: not another region's rate, not another option's, not a row
that its own source doubts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trnbench.catalog.instances import hint_at_instances, instances
from trnbench.catalog.prices import PriceRow, price_rows_by_instance
from trnbench.prices.base import NoPrice, PriceRequest, unknown_instance
from trnbench.schema.price import Price
from trnbench.schema.rent import RentOption

OPTION_ORDER: tuple[RentOption, ...] = ("on_demand", "capacity_block")
"""What is taken where the user names no option."""

DEFAULT_REGIONS = ("us-east-1", "us-east-2", "us-west-2")
"""The first of these that has a rate is taken where a request is settled and names no region.

Source: AWS's three large regions in the United States, whose list prices are alike
(docs/prices.md, "What is taken where nothing is named").
"""

EVERYWHERE = {"all", "all-commercial", "all-govcloud"}
"""Regions of rows whose one rate holds in many regions."""

SEVERAL_REGIONS = {*EVERYWHERE, "unspecified"}
"""What a row has in the place of a region in which a machine could be rented."""

OWN_RATE = "`--usd-per-hour`, or `price: {usd_per_hour: …}` in the config, sets your own rate"


@dataclass(frozen=True, slots=True)
class TableSource:
    """Answers from rows, grouped by instance type; by default the bundled table's."""

    rows_by_instance: Callable[[], Mapping[str, Sequence[PriceRow]]] = price_rows_by_instance
    name: str = "the bundled price table"

    def quote(self, request: PriceRequest) -> Price | NoPrice:
        """Return the newest rate that fits, if exactly one does."""
        if request.instance is None:
            return unknown_instance(request, OWN_RATE)
        if request.is_this_machine and request.region is None:
            return NoPrice(
                f"this {request.instance} does not say which region it is in",
                f"name it with `--set price.region=…`; {OWN_RATE}",
            )
        rows = self.rows_by_instance().get(request.instance, ())
        if not rows:
            return self._unknown_instance(request.instance)
        known = [row for row in rows if row.date <= request.today and row.standing != "listed"]
        wanted = _of_option(known, request.option, is_settled=request.is_settled)
        if not wanted:
            return self._not_sold(request, rows)
        request = _with_region(request, wanted)
        here = rows_of_region(wanted, request.region)
        if (local := request.local_zone) is not None:
            here = [row for row in wanted if row.region in (local, local[:-1])]
            request = replace(request, region=local)
        if not here:
            sold_in = ", ".join(sorted({row.region for row in wanted}))
            return NoPrice(
                f"{self.name} has no {wanted[0].option} rate of {request.instance} "
                f"in {request.region}",
                f"it has rates in {sold_in}; {OWN_RATE}",
            )
        return self._newest(here, request)

    def _newest(self, rows: Sequence[PriceRow], request: PriceRequest) -> Price | NoPrice:
        """Take the newest rate of each place; refuse to choose between different ones."""
        latest = _latest_by_place(rows)
        latest = [row for row in latest if row.region == request.region] or latest
        if request.zone is not None:
            zones = ", ".join(sorted({row.zone for row in latest if row.zone}))
            latest = _of_zone(latest, request.zone)
            if not latest:
                return NoPrice(
                    f"{self.name} has no {rows[0].option} rate of {request.instance} in "
                    f"{request.zone}",
                    f"it has rates in {zones} (`price.zone`, by its id); {OWN_RATE}",
                )
        rates = {row.usd_per_hour for row in latest}
        note = None
        if len(rates) > 1 and request.is_settled:
            what = "zones" if request.region is not None else "regions"
            note = f"the cheapest of {len(latest)} {what}, of which the dearest is ${max(rates)}"
            latest = [row for row in latest if row.usd_per_hour == min(rates)]
        elif len(rates) > 1:
            said = ", ".join(
                f"{row.zone or row.region} ${row.usd_per_hour}"
                for row in sorted(latest, key=lambda row: row.usd_per_hour)
            )
            by_zone = request.region is not None
            return NoPrice(
                f"{request.instance} {latest[0].option} costs differently by "
                f"{'zone' if by_zone else 'region'}: {said}",
                f"name one with `price.{'zone' if by_zone else 'region'}`; {OWN_RATE}",
                is_open=True,
            )
        row = max(latest, key=lambda row: row.date)
        if row.region in EVERYWHERE:
            note = note or f"rate stated for {row.region}"
        elif request.region is None and len(latest) > 1:
            others = ", ".join(sorted({r.region for r in latest} - {row.region}))
            note = note or f"the same in {others}"
        return Price(
            usd_per_hour=row.usd_per_hour,
            instance=row.instance_type,
            option=row.option,
            region=request.region or row.region,
            zone=row.zone if request.zone is not None else None,
            date=row.date,
            source=row.source,
            note=note,
        )

    def _unknown_instance(self, instance: str) -> NoPrice:
        if instance in instances():
            return NoPrice(f"{self.name} has no rate of {instance}", OWN_RATE)
        return NoPrice(f"{instance} is not in {self.name}", hint_at_instances(instance, OWN_RATE))

    def _not_sold(self, request: PriceRequest, rows: Iterable[PriceRow]) -> NoPrice:
        usable = [row for row in rows if row.standing != "listed"]
        begins = [row.date for row in _of_option(usable, request.option)]
        if begins and min(begins) > request.today:
            return NoPrice(
                f"{self.name} has no rate of {request.instance} that holds yet: its first is dated "
                f"{min(begins).isoformat()}, after {request.today.isoformat()}",
                f"look at that date, and at this machine's; {OWN_RATE}",
            )
        has = ", ".join(sorted({row.option for row in usable})) or "none that may be used"
        option = request.option or "on_demand or capacity_block"
        return NoPrice(
            f"{self.name} has no {option} rate of {request.instance}",
            f"it has: {has} (name one with `price.option`); {OWN_RATE}",
        )


def _of_option(
    rows: Sequence[PriceRow], option: RentOption | None, *, is_settled: bool = False
) -> list[PriceRow]:
    """Keep one option's rows; with none named, the first usual option that has default rows.

    A settled request also takes rows of a usual option whose source has no date.
    """
    if option is not None:
        return [row for row in rows if row.option == option]
    for standing in ("default", "on_request") if is_settled else ("default",):
        for usual in OPTION_ORDER:
            found = [row for row in rows if row.option == usual and row.standing == standing]
            if found:
                return found
    return []


def _with_region(request: PriceRequest, rows: Sequence[PriceRow]) -> PriceRequest:
    """Return a settled request with the default region, where one of them has a rate."""
    if not request.is_settled or request.region is not None:
        return request
    known = {row.region for row in rows}
    return request.choose(region=next((r for r in DEFAULT_REGIONS if r in known), None))


def rows_of_region(rows: Sequence[PriceRow], region: str | None) -> list[PriceRow]:
    """Keep the rows that hold in a region: its own, and those that hold everywhere around it.

    A rate for "all commercial regions" means those that sell the instance at all, so it counts
    only where the table has a rate of the region's own, however old.
    """
    if region is None:
        return [row for row in rows if not _is_government(row.region)]
    wide = "all-govcloud" if _is_government(region) else "all-commercial"
    is_sold = any(row.region == region for row in rows)
    held = {region, "all", wide} if is_sold else {"all"}
    return [row for row in rows if row.region in held]


def _of_zone(rows: Sequence[PriceRow], zone: str) -> list[PriceRow]:
    """Keep a zone's rows; where there is none, those that do not differ by zone."""
    return [row for row in rows if row.zone == zone] or [row for row in rows if row.zone is None]


def _is_government(region: str) -> bool:
    return region == "all-govcloud" or region.startswith("us-gov-")


def _latest_by_place(rows: Iterable[PriceRow]) -> list[PriceRow]:
    """Return each place's newest row; a newer rate for everywhere replaces a place's older one."""
    latest: dict[tuple[str, str | None], PriceRow] = {}
    for row in sorted(rows, key=lambda row: (row.date, row.region not in EVERYWHERE)):
        if row.region in EVERYWHERE:
            latest.clear()
        latest[row.region, row.zone] = row
    return list(latest.values())
