"""A report's figures as SVG and PNG files, from the specifications that the HTML page draws.

Needs vl-convert-python, the extra `plots`: Vega-Lite and a rasterizer are in it, and it needs no
network.
"""

import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trnbench.errors import ConfigError, UnavailableError
from trnbench.reports import document as doc
from trnbench.reports.as_html import FOLDER
from trnbench.reports.specification import CONFIG, keys_of, specification

WIDTH = 640
SUBTITLE_LETTERS = 96
PNG_SCALE = 2.0
VEGA_LITE = "6.1"
"""The version of Vega-Lite whose specifications are written; vl-convert has several."""
FONT = "DejaVu Sans, Verdana, Arial, sans-serif"


def require_plots(folder: Path) -> None:
    """Make the folder; raise before anything starts where the figures could not be written."""
    from importlib.util import find_spec

    if find_spec("vl_convert") is None:
        raise UnavailableError(
            "--plots: needs the package vl-convert-python, which is not installed",
            hint="`pip install 'vl-convert-python>=1.9'`, or use --format html, which needs no "
            "package",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--plots {folder}: is no folder that can be made: {error.strerror}",
            hint="name a folder that exists or can be made",
        ) from error


def write_plots(charts: list[doc.Chart], folder: Path) -> list[Path]:
    """Write each figure as SVG and as PNG; return the files.

    Raises:
        ConfigError: a file cannot be written.
    """
    import vl_convert

    written: list[Path] = []
    for name, chart in _named(charts):
        spec = json.dumps(static(chart))
        made: Mapping[str, bytes] = {
            "svg": vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE).encode(),
            "png": vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=PNG_SCALE),
        }
        for ending, text in made.items():
            path = folder / f"{name}.{ending}"
            try:
                path.write_bytes(text)
            except OSError as error:
                raise ConfigError(
                    f"{path}: cannot be written: {error.strerror}",
                    hint="make space, or name another folder by --plots",
                ) from error
            written.append(path)
    return written


def _named(charts: list[doc.Chart]) -> list[tuple[str, doc.Chart]]:
    """Return each chart with a name that no other has."""
    counts: dict[str, int] = {}
    named = []
    for chart in charts:
        counts[chart.name] = count = counts.get(chart.name, 0) + 1
        named.append((chart.name if count == 1 else f"{chart.name}-{count}", chart))
    return named


def static(chart: doc.Chart) -> dict[str, Any]:
    """Return the whole specification of a picture: with its title, its size and real colours."""
    lines = textwrap.wrap(chart.sentence, SUBTITLE_LETTERS)
    lines += [f"{number}. {label}" for number, label in keys_of(chart)]
    title = {"text": chart.title, "subtitle": lines, "anchor": "start", "subtitlePadding": 6}
    bare = {
        "config": {**CONFIG, "font": FONT, "background": "#ffffff"},
        "width": WIDTH, "padding": 14, "autosize": {"type": "pad"}, **chart.drawing,
    }  # fmt: skip
    drawn: dict[str, Any] = json.loads(_with_colours(json.dumps(bare)))
    return {**drawn, "title": title, "data": specification(chart)["data"]}


def _with_colours(text: str) -> str:
    """Replace the variables of the page's style sheet by its colours on white."""
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", style.split("@media")[0]))
    return re.sub(r"var\(--([a-z]+)\)", lambda found: light[found[1]], text)
