"""Records with anything in any field: all values in each field; tests/pure tries a sixth."""

from tests.pure.analysis.test_bad_input import assert_each_field_can_hold_anything


def test_each_field_of_each_record_can_hold_anything() -> None:
    assert_each_field_can_hold_anything(stride=1)
