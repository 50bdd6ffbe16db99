"""Operators' own times put in order: classes that come to the whole, and what is left over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import make_plan
from tests.profiles import ENVIRONMENT, make_operator, make_profiled, rich_profile
from trnbench.analysis.profile import make_profile
from trnbench.protocol.records import OperatorTime
from trnbench.schema.profile import Profile

PLAN = make_plan()
NAMES = ("aten::mm", "aten::mul", "aten::view", "aten::tomorrow", "triton_x")


def profile_of(*operators: OperatorTime, window: float = 1.0) -> Profile:
    profiled = make_profiled(*operators, window_seconds=window)
    return make_profile(PLAN, ENVIRONMENT, profiled, made_at="2026-11-24T00:00:00+00:00")


@st.composite
def operators(draw: st.DrawFn) -> list[OperatorTime]:
    """Draw operators whose own times come to at most a second."""
    parts = draw(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    room = max(1.0, sum(parts))
    return [
        make_operator(
            draw(st.sampled_from(NAMES)),
            part / room,
            within=draw(st.sampled_from([None, "optimizer"])),
        )
        for part in parts
    ]


@given(operators())
def test_classes_and_what_is_unaccounted_for_come_to_the_window(drawn: list[OperatorTime]) -> None:
    profile = profile_of(*drawn)
    total = sum(each.seconds for each in profile.classes) + profile.unaccounted_seconds
    assert total == pytest.approx(profile.window_seconds)
    shares = [each.share for each in profile.classes] + [profile.unaccounted_share]
    assert sum(shares) == pytest.approx(1.0)
    assert all(0 <= share <= 1 + 1e-9 for share in shares)
    assert all(0 <= each.share <= 1 + 1e-9 for each in profile.operators)
    assert len(profile.operators) == len(drawn)


@given(operators())
def test_the_longest_stand_first(drawn: list[OperatorTime]) -> None:
    profile = profile_of(*drawn)
    for each in (profile.operators, profile.classes):
        shares = [one.share for one in each]
        assert shares == sorted(shares, reverse=True)


def test_classes_gather_operators_by_name_and_by_who_called_them() -> None:
    profile = profile_of(
        make_operator("aten::mm", 0.4, calls=3), make_operator("aten::bmm", 0.1, calls=1),
        make_operator("aten::mul_", 0.2, within="optimizer"), make_operator("aten::tomorrow", 0.1),
    )  # fmt: skip
    assert [(each.name, round(each.share, 6)) for each in profile.classes] == [
        ("matrix products", 0.5),
        ("optimizer and clipping", 0.2),
        ("others", 0.1),
    ]
    assert profile.classes[0].calls == 4
    assert profile.unaccounted_share == pytest.approx(0.2)


def test_the_device_s_time_is_shared_out_wherever_it_was_seen() -> None:
    profile = profile_of(
        make_operator("aten::mm", 0.1, device_seconds=0.5),
        make_operator("aten::view", 0.9, device_seconds=0.0),
    )
    assert profile.attributed_to == "device"
    assert [(each.name, each.seconds) for each in profile.classes] == [("matrix products", 0.5)]
    assert profile.unaccounted_seconds == pytest.approx(0.5)
    assert [each.share for each in profile.operators] == [0.5, 0.0]


def test_a_device_of_which_nothing_was_seen_leaves_the_host_s_time() -> None:
    profile = profile_of(make_operator("aten::mm", 0.1, device_seconds=0.0))
    assert profile.attributed_to == "host"
    assert profile.classes[0].seconds == pytest.approx(0.1)


def test_a_rounding_past_the_window_leaves_nothing_below_zero() -> None:
    profile = profile_of(
        make_operator("aten::mm", 0.1), make_operator("aten::mul", 0.2), window=0.3
    )
    assert profile.unaccounted_seconds == 0.0


def test_the_profiler_s_cost_is_what_it_added_to_a_step() -> None:
    profiled = make_profiled(make_operator("aten::mm", 0.1))
    profile = make_profile(PLAN, ENVIRONMENT, profiled, made_at="2026-11-24T00:00:00+00:00")
    assert profile.profiler_cost == pytest.approx(0.25)
    assert not profile.is_cost_in_noise


@pytest.mark.parametrize(
    ("plain", "is_lost"),
    [([0.9, 1.2], True), ([0.98, 1.0], False), ([1.02, 1.02], True), ([1.4, 1.6], True)],
)
def test_a_cost_is_lost_where_the_same_steps_differ_by_more_or_it_would_be_a_gain(
    plain: list[float], is_lost: bool
) -> None:
    profile = rich_profile(profiled_seconds=1.02, plain_seconds=plain)
    assert profile.is_cost_in_noise is is_lost
