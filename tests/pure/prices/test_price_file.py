"""A CSV file of the user's own rates: read exactly, refused with line, column and cell."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from trnbench.config.rates import MAX_CSV_BYTES
from trnbench.errors import ConfigError
from trnbench.prices.base import NoPrice, PriceRequest, PriceSource
from trnbench.prices.own_file import read_rates_file
from trnbench.prices.table import TableSource
from trnbench.schema.price import Price
from trnbench.schema.rent import RentOption

TODAY = date(2026, 11, 23)
HEADER = "instance_type,region,option,usd_per_hour\n"


def read(tmp_path: Path, text: str) -> PriceSource:
    path = tmp_path / "rates.csv"
    path.write_text(text, encoding="utf-8")
    return read_rates_file(path, TODAY, TableSource())


def fault(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_rates_file(path, TODAY, TableSource())
    (problem,) = caught.value.problems
    assert problem.message.startswith(str(path))
    assert problem.hint
    return problem.message.removeprefix(str(path))


def quote(
    source: PriceSource, instance: str = "rack", region: str | None = None,
    option: RentOption | None = None,
) -> Price | NoPrice:  # fmt: skip
    request = PriceRequest(instance=instance, option=option, region=region, today=TODAY)
    return source.quote(request)


def test_a_rate_of_the_users_is_read_as_it_is_written(tmp_path: Path) -> None:
    source = read(tmp_path, HEADER + "rack,us-east-1,on_demand,12.3400\n")
    assert quote(source) == Price(
        usd_per_hour=Decimal("12.3400"),
        instance="rack",
        option="on_demand",
        region="us-east-1",
        date=TODAY,
        source="the user's file rates.csv",
    )


def test_dates_and_sources_are_read_where_they_are_given(tmp_path: Path) -> None:
    source = read(
        tmp_path,
        "date,source,usd_per_hour,option,instance_type\n"
        "2026-01-02,our contract,9.5,reserved_3y,rack\n"
        ",,10.5,spot,rack\n",
    )
    agreed = quote(source, option="reserved_3y")
    assert isinstance(agreed, Price)
    assert (agreed.date, agreed.source) == (date(2026, 1, 2), "our contract")
    today = quote(source, option="spot")
    assert isinstance(today, Price)
    assert (today.date, today.source) == (TODAY, "the user's file rates.csv")


def test_a_rate_without_a_region_holds_in_all(tmp_path: Path) -> None:
    source = read(tmp_path, HEADER + "rack,,on_demand,12\n")
    for region in (None, "us-east-1", "cellar"):
        answer = quote(source, region=region)
        assert isinstance(answer, Price)
        assert answer.region == (region or "all")


def test_a_rate_of_the_region_wins_over_the_one_for_all(tmp_path: Path) -> None:
    for lines in ("rack,,on_demand,12\nrack,cellar,on_demand,9\n",
                  "rack,cellar,on_demand,9\nrack,,on_demand,12\n"):  # fmt: skip
        answer = quote(read(tmp_path, HEADER + lines), region="cellar")
        assert isinstance(answer, Price)
        assert answer.usd_per_hour == 9


def test_spaces_blank_lines_quotes_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    text = HEADER.replace("\n", "\r\n") + '\r\n"rack", , on_demand , 12 \r\n\r\n'
    path.write_bytes(text.encode("utf-8-sig"))
    answer = quote(read_rates_file(path, TODAY, TableSource()))
    assert isinstance(answer, Price)
    assert answer.usd_per_hour == 12


def test_a_file_without_rates_has_none(tmp_path: Path) -> None:
    answer = quote(read(tmp_path, HEADER), instance="trn2.48xlarge")
    assert isinstance(answer, NoPrice)
    assert answer.reason == "rates.csv has no rate of trn2.48xlarge"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ", line 1: column instance_type is missing"),
        ("instance_type;region;option;usd_per_hour\n", ", line 1: column instance_type is missing"),
        ("instance_type,option\nrack,spot\n", ", line 1: column usd_per_hour is missing"),
        ("instance_type,usd_per_hour\nrack,3\n", ", line 1: column option is missing"),
        (
            "instance_type,regoin,option,usd_per_hour\nrack,cellar,spot,3\n",
            ", line 1: column 'regoin' is not known",
        ),
        (
            HEADER + "rack,,spot,abc\n",
            ", line 2: rates.0.usd_per_hour: got 'abc', expected",
        ),
        (HEADER + "rack,,spot\n", ", line 2: rates.0.usd_per_hour: is missing"),
        (
            HEADER + "rack,,spot,0\n",
            ", line 2: rates.0.usd_per_hour: got 0, expected more than 0",
        ),
        (
            HEADER + "rack,,spot,-1\n",
            ", line 2: rates.0.usd_per_hour: got -1, expected more than 0",
        ),
        (
            HEADER + "rack,,spot,nan\n",
            ", line 2: rates.0.usd_per_hour: got NaN, expected a finite",
        ),
        (HEADER + "rack,,spot,$3\n", ", line 2: rates.0.usd_per_hour: got '$3', expected a number"),
        (HEADER + "rack,,spot,1,234.50\n", ", line 2: has more cells than columns"),
        (HEADER + ",,spot,3\n", ", line 2: rates.0.instance_type: is missing"),
        (HEADER + "rack,,cheap,3\n", ", line 2: rates.0.option: 'cheap' is not known"),
        (
            HEADER + "\n\nrack,,spot,3\n\nrack,,cheap,3\n",
            ", line 6: rates.1.option: 'cheap' is not known",
        ),
        (
            HEADER + "rack,,spot,3\nrack,a,spot,3\nrack,,spot,4\n",
            ", line 4: a second entry of rates for rack",
        ),
        (
            "instance_type,option,usd_per_hour,date\nrack,spot,3,23.11.2026\n",
            ", line 2: rates.0.date: '23.11.2026' is not a day",
        ),
        (HEADER + '"rack,,spot,3\n', ", unexpected end of data"),
        (
            "instance_type,option,usd_per_hour,date\nrack,spot,3,2026-11-23\nrack,spot,4,\n",
            ", line 3: a second entry of rates for rack",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_where_it_is_wrong(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(text)
    assert fault(path).startswith(message)


def test_a_wrong_header_is_refused_with_the_columns_that_there_are(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("instance_type,usd_per_hour\nrack,3\n")
    with pytest.raises(ConfigError) as caught:
        read_rates_file(path, TODAY, TableSource())
    hint = caught.value.problems[0].hint
    assert hint.startswith("columns: instance_type,region,option,usd_per_hour")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert fault(tmp_path / "none.csv") == ": no such file"


def test_a_folder_is_told(tmp_path: Path) -> None:
    assert fault(tmp_path) == ": is a folder"


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_bytes(HEADER.encode() + b"\xff\xfe,,spot,3\n")
    assert fault(path) == ": is not UTF-8 text"


@pytest.mark.timeout(60)
def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    with path.open("wb") as stream:
        stream.truncate(5 * MAX_CSV_BYTES)
    assert fault(path) == f": is longer than {MAX_CSV_BYTES:,} bytes"
