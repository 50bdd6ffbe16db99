"""Figures as specifications: each report has them, whole and drawn from its own data alone."""

import json
from math import inf
from pathlib import Path

import pytest

from tests.builders import job_results, make_plan, make_result
from tests.command import in_process
from tests.each import check_each
from tests.pure.reports.samples import SAMPLES, report_of
from trnbench.analysis.traces import Trace, thinned
from trnbench.errors import ConfigError, UnavailableError
from trnbench.reports.axes import Axis, bytes_axis, seconds_axis
from trnbench.reports.backing import backing_of
from trnbench.reports.charts import KINDS, Point, dots
from trnbench.reports.document import Chart, Page
from trnbench.reports.figures import of_results, slug
from trnbench.reports.plots import require_plots, static
from trnbench.reports.specification import specification

FIGURES = {
    "results": {"speed", "memory"},
    "ranking": {"cost-against-speed", "price"},
    "cost": {"cost", "sensitivity"},
    "comparison": {"comparison"},
    "microbench": {"peak-model"},
    "profile": {"profile-classes", "profile-operators"},
    "prices:HISTORY": {"price-history"},
}


def charts_of(name: str) -> list[Chart]:
    return [*report_of(name).document(SAMPLES[name], Page()).backing().charts]


def test_each_report_has_its_figures() -> None:
    def check(name: str) -> None:
        found = [chart.name for chart in charts_of(name)]
        for wanted in FIGURES[name]:
            assert any(each.startswith(wanted) for each in found), (wanted, found)

    check_each([*FIGURES], check)


def test_a_picture_has_real_colours_its_title_and_all_of_its_data() -> None:
    def check(name: str) -> None:
        for chart in charts_of(name):
            spec = static(chart)
            assert spec["title"]["text"] == chart.title
            assert spec["data"]["values"] == [dict(row) for row in chart.data]
            drawing = json.dumps({**spec, "data": None, "title": None})
            assert "var(" not in drawing
            assert "http" not in drawing
            assert all(
                any(row.get(field) is not None for row in chart.data) for field in chart.headings
            )

    check_each([*FIGURES], check)


def test_a_name_that_looks_like_a_colour_of_the_style_sheet_stays_a_name() -> None:
    point = Point(label="var(--blue)", x=1.0)
    chart = dots(name="n", title="t", sentence="s", axis=Axis(title="x"), points=[point, point])
    assert static(chart)["data"]["values"][0]["label"] == "var(--blue)"


def test_an_infinite_cost_is_no_point_and_breaks_no_page() -> None:
    points = [Point(label="a", x=1.0, x_low=0.5, x_high=inf), Point(label="b", x=inf)]
    chart = dots(name="n", title="t", sentence="s", axis=Axis(title="x"), points=points)
    assert [(row["x"], row["low"]) for row in specification(chart)["data"]["values"]] == [
        (1.0, None),
        (None, None),
    ]
    assert "Infinity" not in json.dumps(static(chart))


def test_every_origin_has_a_colour_and_a_shape_of_its_own() -> None:
    plain = [look for kind, look in KINDS.items() if "doubtful" not in kind]
    assert len({*plain}) == len({colour for colour, _ in plain}) == len({s for _, s in plain}) == 4
    assert Point(label="", x=1.0, origin="imported", is_doubtful=True).kind in KINDS
    assert Point(label="", x=1.0, origin="published", is_doubtful=True).kind == "published"


def trace(**changes: object) -> Trace:
    values: dict[str, object] = {
        "step_seconds": (0.5, 0.4, 0.6), "losses": (8.0, 7.0, None, 5.0),
        "possible_losses": (1.0, 1.0, 1.0, 1.0), "parity_losses": (4.04, None, 3.0),
        "reference_losses": (4.0, 3.5, 3.0), "predicted_memory_bytes": 2.0**28,
        "predicted_step_seconds": None,
    }  # fmt: skip
    return Trace(**{**values, **changes})  # type: ignore[arg-type]


def test_the_steps_of_a_result_are_drawn_where_its_records_are_found() -> None:
    result = make_result()
    made = {chart.name: chart for chart in of_results([result], lambda _: trace())}
    assert [row["y"] for row in made["step-times"].data] == [0.5, 0.4, 0.6]
    shares = [(row["x"], row["y"]) for row in made["step-time-distribution"].data]
    assert shares == [(0.4, pytest.approx(100 / 3)), (0.5, pytest.approx(200 / 3)), (0.6, 100.0)]
    losses = [(row["x"], row["y"]) for row in made["loss"].data if str(row["series"])[:4] == "loss"]
    assert losses == [(1.0, 8.0), (2.0, 7.0), (4.0, 5.0)]
    ratios = [row["y"] for row in made["loss-against-reference"].data]
    assert ratios == [pytest.approx(1.0), 0.0]
    memory = {str(row["part"]): row["x"] for row in made["memory"].data}
    assert memory == {"predicted": 2.0**28, "measured": result.metrics["peak_memory_bytes"].value}
    assert not {"step-times", "loss"} & {chart.name for chart in of_results([result], None)}


def test_a_job_is_drawn_beside_one_device_and_what_linear_scaling_would_be() -> None:
    made = {chart.name: chart for chart in of_results(job_results(), None)}
    linear = [r for r in made["scaling"].data if str(r["series"]).startswith("linear")]
    real = [r for r in made["scaling"].data if not str(r["series"]).startswith("linear")]
    assert [row["x"] for row in real] == [row["x"] for row in linear] == [1.0, 8.0]
    one, eight = (row["y"] for row in linear)
    assert eight == pytest.approx(8 * float(str(one)))
    shares = [row["x"] for row in made["communication"].data]
    assert sum(float(str(share)) for share in shares) == pytest.approx(100)


def test_results_of_one_name_are_told_apart_by_their_runs() -> None:
    first = make_result(make_plan({"price.usd_per_hour": "2"}))
    second = first.model_copy(update={"run_id": "another"})
    (speed,) = (each for each in backing_of([first, second]).charts if each.name == "speed")
    labels = [str(row["label"]) for row in speed.data]
    assert labels[0].startswith(first.run_id)
    assert labels[1].startswith("another: ")


def test_an_axis_has_the_unit_that_fits_and_its_table_the_base_unit() -> None:
    assert seconds_axis("step time", [0.03]).title == "step time, ms"
    assert seconds_axis("step time", [30.0]).title == "step time, s"
    assert seconds_axis("step time", [2e-5]).title == "step time, µs"
    assert bytes_axis("memory", [2.0**29]).title == "memory, MiB"
    (chart,) = charts_of("results")[1:2]
    assert chart.headings["x"] == "peak memory, bytes"


def test_a_series_is_thinned_evenly_and_keeps_its_ends() -> None:
    assert [*thinned(5, 200)] == [0, 1, 2, 3, 4]
    found = [*thinned(100_000, 200)]
    assert len(found) == 200
    assert (found[0], found[-1]) == (0, 99_999)
    assert found == sorted(found)


def test_a_file_name_has_plain_letters_alone() -> None:
    assert slug("../<script> Llama 3 نموذج, 8192") == "script-llama-3-8192"


def test_without_the_package_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="vl-convert-python, which is not installed") as got:
        require_plots(tmp_path / "new")
    assert "pip install" in got.value.problems[0].hint
    assert not (tmp_path / "new").exists()


def test_a_command_without_the_package_ends_with_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for command in ("report", "rank", "cost"):
        done = in_process(command, "nowhere", "--plots", "figures")
        assert done.code == 3, command
        assert "--plots: needs the package vl-convert-python" in done.err
        assert not Path("figures").exists()


def test_a_folder_that_cannot_be_made_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is no folder that can be made"):
        require_plots(tmp_path / "file")
