"""Figures as files: whole pictures, and the same bytes from two processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pure.reports.samples import SAMPLES, report_of
from trnbench.reports.document import Page
from trnbench.reports.plots import write_plots

pytest.importorskip("vl_convert", reason="needs the extra `plots`: make test-plots")

SCRIPT = """
import sys
from pathlib import Path
from tests.pure.reports.samples import SAMPLES, report_of
from trnbench.reports.document import Page
from trnbench.reports.plots import write_plots
for name in ("ranking", "prices:HISTORY"):
    charts = report_of(name).document(SAMPLES[name], Page()).backing().charts
    write_plots([*charts], Path(sys.argv[1]))
"""


def test_every_report_draws_whole_pictures(tmp_path: Path) -> None:
    names = ("results", "ranking", "cost", "comparison", "microbench", "profile")
    for name in names:
        charts = [*report_of(name).document(SAMPLES[name], Page()).backing().charts]
        written = write_plots(charts, tmp_path)
        assert len(written) == 2 * len(charts) > 0
        for path in written:
            start = path.read_bytes()[:8]
            assert start.startswith(b"<svg" if path.suffix == ".svg" else b"\x89PNG\r\n\x1a\n")
    titles = (tmp_path / "speed.svg").read_text()
    assert ">Speed<" in titles
    assert "var(" not in titles


def test_two_figures_of_one_name_have_files_of_their_own(tmp_path: Path) -> None:
    (chart, *_) = report_of("results").document(SAMPLES["results"], Page()).backing().charts
    names = {path.name for path in write_plots([chart, chart], tmp_path)}
    assert names == {"speed.svg", "speed.png", "speed-2.svg", "speed-2.png"}


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        subprocess.run([sys.executable, "-c", SCRIPT, str(folder)], check=True)
    pairs = [(path, folders[1] / path.name) for path in sorted(folders[0].iterdir())]
    assert len(pairs) >= 6
    assert all(first.read_bytes() == second.read_bytes() for first, second in pairs)
