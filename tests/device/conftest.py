"""A failure on the day of the chip must say what it saw: the suite's own asserts tell, too."""

import pytest

pytest.register_assert_rewrite("tests.device.suite")
