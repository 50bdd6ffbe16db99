"""The packages' energy, from a tree of files like the kernel's."""

from pathlib import Path

import pytest

from trnbench.machine.rapl import RaplSource
from trnbench.machine.source import QUANTITIES, Absent, Subject

RANGE = 262_143_328_850


def write_domain(root: Path, folder: str, name: str, microjoules: int) -> Path:
    domain = root / folder
    domain.mkdir(parents=True)
    (domain / "name").write_text(f"{name}\n")
    (domain / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (domain / "energy_uj").write_text(f"{microjoules}\n")
    return domain / "energy_uj"


def opened(root: Path) -> RaplSource:
    source = RaplSource.open(Subject(), root)
    assert isinstance(source, RaplSource)
    return source


def reason(root: Path) -> str:
    source = RaplSource.open(Subject(), root)
    assert isinstance(source, Absent)
    return source.reason


def test_energy_is_counted_from_the_opening_and_power_is_its_mean(tmp_path: Path) -> None:
    counter = write_domain(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    source = opened(tmp_path)
    counter.write_text("7_000_000".replace("_", ""))
    (first,) = source.read(10.0)
    counter.write_text("107000000")
    (second,) = source.read(12.0)
    source.close()
    assert first.values == {"energy_joules": 2.0}
    assert second.values == {"energy_joules": 102.0, "power_watts": 50.0}
    assert (second.source, second.device, second.is_valid) == ("rapl", 0, True)
    assert second.note == "processor package, without DRAM"
    assert second.values.keys() <= QUANTITIES.keys()


def test_a_counter_that_begins_again_loses_nothing(tmp_path: Path) -> None:
    counter = write_domain(tmp_path, "intel-rapl:0", "package-0", RANGE - 3_000_000)
    source = opened(tmp_path)
    for microjoules in (RANGE - 1_000_000, 4_000_000, RANGE - 1, 500_000):
        counter.write_text(str(microjoules))
        (reading,) = source.read(1.0)
    used = (3_000_000 + 4_000_000) + (RANGE - 4_000_000) + 500_000
    assert reading.values["energy_joules"] == pytest.approx(used / 1e6)


def test_without_a_known_range_a_wrap_is_left_out_and_energy_never_falls(tmp_path: Path) -> None:
    counter = write_domain(tmp_path, "intel-rapl:0", "package-0", 9_000_000)
    (counter.parent / "max_energy_range_uj").unlink()
    source = opened(tmp_path)
    energies = []
    for microjoules in (10_000_000, 1_000_000, 3_000_000):
        counter.write_text(str(microjoules))
        energies.append(source.read(1.0)[0].values["energy_joules"])
    assert energies == [1.0, 1.0, 3.0]


def test_dies_of_a_package_are_summed_and_other_domains_are_not_counted(tmp_path: Path) -> None:
    counters = [
        write_domain(tmp_path, "intel-rapl:0", "package-0-die-0", 0),
        write_domain(tmp_path, "intel-rapl:1", "package-0-die-1", 0),
        write_domain(tmp_path, "intel-rapl:2", "package-1", 0),
        write_domain(tmp_path, "intel-rapl:2:0", "core", 0),
        write_domain(tmp_path, "intel-rapl:2:1", "dram", 0),
        write_domain(tmp_path, "intel-rapl:3", "psys", 0),
        write_domain(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
    ]
    source = opened(tmp_path)
    for number, counter in enumerate(counters):
        counter.write_text(str(10**number * 1_000_000))
    told = {r.device: r.values["energy_joules"] for r in source.read(1.0)}
    assert told == {0: 11.0, 1: 100.0}


def test_a_machine_without_rapl_says_so(tmp_path: Path) -> None:
    assert "no processor package" in reason(tmp_path / "nothing")
    write_domain(tmp_path, "intel-rapl:0", "psys", 0)
    assert "no processor package" in reason(tmp_path)


def test_a_counter_for_root_alone_is_named_with_what_would_help(tmp_path: Path) -> None:
    # A test may run as root, whom no mode stops; so the refusal comes from the file itself.
    class Refusing(type(tmp_path)):  # type: ignore[misc]
        def read_text(self, *args: object, **kwargs: object) -> str:
            if self.name == "energy_uj":
                raise PermissionError(13, "Permission denied")
            return str(super().read_text())

    write_domain(tmp_path, "intel-rapl:0", "package-0", 0)
    told = reason(Refusing(tmp_path))
    assert "intel-rapl:0/energy_uj" in told
    assert "only root" in told


def test_a_counter_that_is_no_number_makes_the_source_absent(tmp_path: Path) -> None:
    write_domain(tmp_path, "intel-rapl:0", "package-0", 0).write_text("?")
    assert "cannot be read" in reason(tmp_path)


def test_a_counter_that_goes_away_is_told_and_may_come_back(tmp_path: Path) -> None:
    counter = write_domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    source = opened(tmp_path)
    counter.unlink()
    (lost,) = source.read(1.0)
    assert (lost.is_valid, lost.values) == (False, {})
    counter.write_text("4000000")
    (back,) = source.read(2.0)
    assert back.values["energy_joules"] == 3.0
