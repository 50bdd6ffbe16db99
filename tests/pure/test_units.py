"""How quantities read, at the edges between units above all."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.each import check_each
from trnbench import units


def test_a_duration_is_said_in_the_unit_of_its_size() -> None:
    def check(seconds: float, said: str) -> None:
        assert units.say_seconds(seconds) == said

    check_each(
        [
            (0, "0 µs"),
            (1e-9, "0.001 µs"),
            (0.00012345, "123 µs"),
            (0.0009999, "1000 µs"),
            (0.001, "1 ms"),
            (0.01234, "12.3 ms"),
            (0.9996, "1000 ms"),
            (1, "1 s"),
            (99.95, "100 s"),
            (119.4, "119 s"),
            (120, "2 min"),
            (7199, "120 min"),
            (7200, "2 h"),
            (3 * 86400 - 1, "72 h"),
            (3 * 86400, "3 d"),
            (2083.4 * 86400, "2083 d"),
        ],
        check,
    )


def test_a_count_is_said_in_three_digits() -> None:
    def check(count: float, said: str) -> None:
        assert units.say_count(count) == said

    check_each(
        [
            (0, "0"),
            (999, "999"),
            (1000, "1 k"),
            (124_439_808, "124 M"),
            (999_999, "1000 k"),
            (8_030_261_248, "8.03 B"),
            (405_853_388_800, "406 B"),
            (15e12, "15 T"),
            (1.5e15, "1500 T"),
            (-2500, "-2.5 k"),
        ],
        check,
    )


def test_memory_is_said_in_binary_units() -> None:
    def check(size: float, said: str) -> None:
        assert units.say_bytes(size) == said

    check_each(
        [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (24 * 2**30, "24 GiB"),
            (1023.6 * 2**20, "1024 MiB"),
            (15.44 * 2**30, "15.4 GiB"),
            (99.96 * 2**30, "100 GiB"),
            (1536.4 * 2**30, "1536 GiB"),
        ],
        check,
    )


@pytest.mark.parametrize(
    ("value", "rate", "amount"),
    [
        (6.67e14, "667 TFLOP/s", "667 TFLOP"),
        (9.996e14, "1000 TFLOP/s", "1000 TFLOP"),
        (1e15, "1 PFLOP/s", "1 PFLOP"),
        (2.5e18, "2500 PFLOP/s", "2500 PFLOP"),
        (5.147e10, "51.5 GFLOP/s", "51.5 GFLOP"),
        (2e6, "2 MFLOP/s", "2 MFLOP"),
        (500, "0.0005 MFLOP/s", "500 FLOP"),
    ],
)
def test_operations_are_said_in_decimal_units(value: float, rate: str, amount: str) -> None:
    assert units.say_flops_per_second(value) == rate
    assert units.say_flops(value) == amount


def test_dollars_keep_the_digits_that_tell_them_apart() -> None:
    def check(usd: float | Decimal, said: str) -> None:
        assert units.say_usd(usd) == said

    check_each(
        [
            (0, "$0.00"),
            (Decimal("35.7608"), "$35.76"),
            (Decimal("113.068"), "$113.07"),
            (100, "$100.00"),
            (1234567.891, "$1,234,567.89"),
            (0.0926, "$0.0926"),
            (0.01, "$0.01"),
            (0.009876, "$0.00988"),
            (8.33e-6, "$0.00000833"),
        ],
        check,
    )


def test_digits_end_at_the_second_digit_of_the_half_width() -> None:
    def check(value: float, half_width: float, digits: int) -> None:
        assert units.significant_digits(value, half_width) == digits

    check_each(
        [
            (60_000, 1234, 0),
            (60_000, 12.34, 0),
            (60_000, 1.0, 1),
            (2.046, 0.0648, 3),
            (0.5, 0.25, 2),
            (0.5, 0.01, 3),
            (123.456, 0.0, 0),
            (1.5, 0.0, 2),
            (0.00123, 0.0, 5),
            (0.0, 0.0, 3),
            (12.5, float("inf"), 1),
            (12.5, float("nan"), 1),
        ],
        check,
    )


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((12345.678, 12300, 12391.4), "12,346 [12,300, 12,391]"),
        ((2.046, 1.98118, 2.11082), "2.046 [1.981, 2.111]"),
        ((1.0, 0.9, 1.001), "1.00 [0.90, 1.00]"),
        ((1.0, 1.0, 1.0), "1.00 [1.00, 1.00]"),
    ],
)
def test_an_interval_and_its_point_have_the_same_digits(
    interval: tuple[float, float, float], said: str
) -> None:
    assert units.say_interval(*interval) == said


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((2.0, 1.9, 2.1), "2.00 [1.90, 2.10] s"),
        ((0.9999, 0.98, 1.02), "1,000 [980, 1,020] ms"),
        ((0.0005, 0.0004, 0.0006), "500 [400, 600] µs"),
    ],
)
def test_an_interval_of_durations_has_one_unit(
    interval: tuple[float, float, float], said: str
) -> None:
    assert units.say_seconds_interval(*interval) == said


def test_an_interval_of_dollars_is_marked_as_such() -> None:
    assert units.say_usd_interval(0.0926, 0.09, 0.0952) == "$0.0926 [0.0900, 0.0952]"


@pytest.mark.parametrize(
    ("part", "said"),
    [(0.487, "48.7 %"), (0.0123, "1.2 %"), (0, "0 %"), (-0.25, "-25.0 %"), (0.00042, "0.042 %")],
)
def test_a_part_is_said_in_percent(part: float, said: str) -> None:
    assert units.say_percent(part) == said


@given(st.floats(1e-7, 1e12))
def test_nothing_is_said_with_an_exponent(value: float) -> None:
    for say in (
        units.say_count,
        units.say_seconds,
        units.say_bytes,
        units.say_flops,
        units.say_usd,
    ):
        assert "e" not in say(value).removesuffix("e")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1T", 1e12), ("300B", 3e11), ("15e12", 1.5e13), ("2.5 M", 2.5e6), ("1,000", 1e3), ("7", 7)],
)
def test_counts_are_read_as_people_write_them(text: str, value: float) -> None:
    assert units.read_count(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "T", "-1", "1X", "nan", "inf", "\uff11", "1 2", "1e1000"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a count"):
        units.read_count(text)


@pytest.mark.parametrize("text", ["0", "0.5", "1e30", "1e99", "1e400", "99999999999999 P"])
def test_a_count_that_nobody_trains_is_told_with_the_range(text: str) -> None:
    with pytest.raises(ValueError, match="is not from 1 to 1e24"):
        units.read_count(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("30d", 2_592_000), ("12h", 43_200), ("90 min", 5400), ("90m", 5400), ("45s", 45),
     ("2w", 1_209_600), (".5h", 1800), ("0s", 0)],
)  # fmt: skip
def test_durations_are_read_as_people_write_them(text: str, value: float) -> None:
    assert units.read_seconds(text) == value


@pytest.mark.parametrize("text", ["", "5", "d", "-1h", "1 year", "1h30m", "infs"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        units.read_seconds(text)
