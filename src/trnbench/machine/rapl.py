"""Energy of the processor packages by RAPL, Intel's and AMD's, from Linux's power-capping files.

It is what the processors used, without their DRAM, the devices or the power supply.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from trnbench.machine.source import Absent, Subject, failure, reading
from trnbench.schema.measurement import Reading

ROOT = Path("/sys/class/powercap")

_NOTE = "processor package, without DRAM"
_PACKAGE = re.compile(r"package-(\d+)(-die-\d+)?")


@dataclass(slots=True)
class _Domain:
    """One counter: of a package or, in some processors, of one die of it."""

    package: int
    path: Path
    range_microjoules: int | None
    """After this much the counter begins at zero again."""
    last_microjoules: int
    joules: float = 0.0

    def advance(self) -> None:
        """Read the counter and add what was used since."""
        now = _read_number(self.path / "energy_uj")
        used = now - self.last_microjoules
        if used < 0 and self.range_microjoules is not None:
            used += self.range_microjoules
        self.last_microjoules = now
        self.joules += max(used, 0) / 1e6


class RaplSource:
    """Reads each package's energy."""

    name = "rapl"

    @classmethod
    def open(cls, subject: Subject, root: Path = ROOT) -> "RaplSource | Absent":
        """Find the packages' counters, or say why none can be read."""
        domains = []
        for folder in sorted(root.glob("intel-rapl:*")):
            try:
                package = _package_of(folder)
                if package is not None:
                    domains.append(_open_domain(folder, package))
            except PermissionError:
                return Absent(
                    f"{folder / 'energy_uj'}: only root may read it (since CVE-2020-8694); "
                    "let this user read it to have the processors' energy"
                )
            except (OSError, ValueError) as error:
                return Absent(f"{folder}: cannot be read: {error}")
        if not domains:
            return Absent(f"no processor package under {root}/intel-rapl:*")
        return cls(domains)

    def __init__(self, domains: list[_Domain]) -> None:
        self._domains = domains
        self._last_at: float | None = None
        self._last_joules: dict[int, float] = {}

    def read(self, at_seconds: float) -> list[Reading]:
        """Return a reading of each package: its energy and, from the second on, mean power."""
        joules: dict[int, float] = {}
        try:
            for domain in self._domains:
                domain.advance()
                joules[domain.package] = joules.get(domain.package, 0.0) + domain.joules
        except (OSError, ValueError) as error:
            return [failure(self.name, at_seconds, f"cannot be read any more: {error}")]
        elapsed = 0.0 if self._last_at is None else at_seconds - self._last_at
        readings = []
        for package, energy in joules.items():
            values = {"energy_joules": energy}
            if elapsed > 0:
                values["power_watts"] = (energy - self._last_joules[package]) / elapsed
            readings.append(reading(self.name, at_seconds, values, device=package, note=_NOTE))
        self._last_at, self._last_joules = at_seconds, joules
        return readings

    def close(self) -> None:
        """Nothing is held open."""


def _package_of(folder: Path) -> int | None:
    """Return the number of the package whose domain this is; None if it is another's.

    Cores and DRAM are domains within a package's; `psys` is the whole board's.
    """
    match = _PACKAGE.fullmatch((folder / "name").read_text().strip())
    return int(match[1]) if match else None


def _open_domain(folder: Path, package: int) -> _Domain:
    try:
        range_microjoules = _read_number(folder / "max_energy_range_uj")
    except (OSError, ValueError):
        range_microjoules = None  # then what is used across a wrap-around is not counted
    return _Domain(package, folder, range_microjoules, _read_number(folder / "energy_uj"))


def _read_number(path: Path) -> int:
    return int(path.read_text())
