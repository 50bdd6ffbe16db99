"""The beat of the readings, and that a source which fails is told once and never raised."""

import math
from collections.abc import Callable

import pytest

from trnbench.machine.source import Absent, Subject, failure
from trnbench.machine.telemetry import MAX_PAUSE_SECONDS, MAX_SHARE, SOURCES, Recorder, open_sources
from trnbench.protocol.codec import encode
from trnbench.schema.measurement import Reading


def a_reading(at_seconds: float, device: int | None = None, **values: float) -> Reading:
    return Reading(
        at_seconds=at_seconds,
        source="scripted",
        device=device,
        is_valid=True,
        note=None,
        values=values,
        flags=[],
    )


class Clock:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """Answers what its script answers, and counts how often it is closed."""

    name = "scripted"

    def __init__(self, script: Callable[[float], list[Reading]]) -> None:
        self._script = script
        self.closed = 0

    def read(self, at_seconds: float) -> list[Reading]:
        return self._script(at_seconds)

    def close(self) -> None:
        self.closed += 1


class Broken(Scripted):
    """Cannot even be closed."""

    def close(self) -> None:
        raise RuntimeError("stuck")


def one_each_time(at_seconds: float) -> list[Reading]:
    return [a_reading(at_seconds, power_watts=1.0)]


def raise_always(at_seconds: float) -> list[Reading]:
    raise KeyError("no such thing")


def test_it_reads_at_its_period_and_not_before() -> None:
    recorder = Recorder({"scripted": Scripted(one_each_time)}, 1.0, Clock())
    moments = [0.0, 0.2, 0.9, 1.0, 1.1, 1.9, 2.3, 3.1, 3.3]
    assert [at for at in moments if recorder.poll(at)] == [0.0, 1.0, 2.3, 3.3]


def test_readings_carry_the_moment_that_they_were_asked_for() -> None:
    recorder = Recorder({"scripted": Scripted(one_each_time)}, 1.0, Clock())
    assert [r.at_seconds for at in (0.5, 2.0) for r in recorder.poll(at)] == [0.5, 2.0]


def test_an_absent_source_is_told_once_with_its_reason() -> None:
    recorder = Recorder({"nvml": Absent("no NVIDIA driver")}, 1.0, Clock())
    assert recorder.poll(0.5) == [failure("nvml", 0.5, "no NVIDIA driver")]
    assert recorder.poll(2.0) == []


def test_a_source_that_raises_is_told_once_closed_and_the_others_go_on() -> None:
    bad, good = Scripted(raise_always), Scripted(one_each_time)
    recorder = Recorder({"bad": bad, "good": good}, 1.0, Clock())
    told, fine = recorder.poll(0.0)
    assert (told.source, told.is_valid) == ("bad", False)
    assert told.note is not None
    assert "KeyError" in told.note
    assert fine.is_valid
    assert bad.closed == 1
    assert [r.source for r in recorder.poll(1.0)] == ["scripted"]
    recorder.close()
    assert (bad.closed, good.closed) == (1, 1)


def test_a_source_that_cannot_be_closed_is_no_fault() -> None:
    Recorder({"bad": Broken(one_each_time)}, 1.0, Clock()).close()
    recorder = Recorder({"bad": Broken(raise_always)}, 1.0, Clock())
    assert [r.is_valid for r in recorder.poll(0.0)] == [False]


def test_a_closed_recorder_reads_nothing() -> None:
    recorder = Recorder({"scripted": Scripted(one_each_time)}, 1.0, Clock())
    recorder.close()
    assert recorder.poll(9.0) == []


def test_the_same_failure_is_told_once_until_it_is_over() -> None:
    silent, fine = failure("scripted", 0.0, "silent"), a_reading(0.0)
    lost = failure("scripted", 0.0, "lost")
    script = iter([silent, silent, fine, silent, lost, lost, silent])
    recorder = Recorder({"scripted": Scripted(lambda _: [next(script)])}, 1.0, Clock())
    told = [[r.note for r in recorder.poll(float(turn))] for turn in range(7)]
    assert told == [["silent"], [], [None], ["silent"], ["lost"], [], ["silent"]]


def test_each_device_s_failure_is_its_own() -> None:
    def both(at_seconds: float) -> list[Reading]:
        return [failure("nvml", at_seconds, "lost", 0), failure("nvml", at_seconds, "lost", 1)]

    recorder = Recorder({"nvml": Scripted(both)}, 1.0, Clock())
    assert [r.device for r in recorder.poll(0.0)] == [0, 1]
    assert recorder.poll(1.0) == []


def test_a_value_that_is_no_finite_number_is_never_written() -> None:
    def wild(at_seconds: float) -> list[Reading]:
        return [a_reading(at_seconds, power_watts=math.nan, load_average=math.inf, cpu_share=0.5)]

    (reading,) = Recorder({"scripted": Scripted(wild)}, 1.0, Clock()).poll(0.0)
    assert reading.values == {"cpu_share": 0.5}
    assert encode(reading)


@pytest.mark.parametrize(
    ("cost", "pause"), [(0.001, 1.0), (0.1, 0.1 / MAX_SHARE), (60.0, MAX_PAUSE_SECONDS)]
)
def test_a_slow_source_lowers_the_beat(cost: float, pause: float) -> None:
    clock = Clock()

    def slowly(at_seconds: float) -> list[Reading]:
        clock.now += cost
        return [a_reading(at_seconds)]

    recorder = Recorder({"scripted": Scripted(slowly)}, 1.0, clock)
    recorder.poll(10.0)
    assert recorder.poll(10.0 + pause - 0.01) == []
    assert recorder.poll(10.0 + pause + 0.01)


def test_a_source_that_cannot_even_be_opened_is_absent() -> None:
    def refuse(subject: Subject) -> Scripted:
        raise LookupError("no such board")

    opened = open_sources(Subject(), {"bad": refuse, "good": lambda _: Scripted(one_each_time)})
    told, fine = Recorder(opened, 1.0, Clock()).poll(0.0)
    assert told == failure("bad", 0.0, "cannot be opened: LookupError: no such board")
    assert fine.is_valid


def test_every_source_opens_here_or_says_why_not() -> None:
    opened = open_sources(Subject())
    assert list(opened) == list(SOURCES)
    recorder = Recorder(opened)
    readings = recorder.poll(0.0)
    recorder.close()
    assert "host" in {r.source for r in readings if r.is_valid}
    assert all(r.note for r in readings if not r.is_valid)
