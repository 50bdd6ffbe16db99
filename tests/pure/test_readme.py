"""What README.md says of the project is what the project is."""

import re
from pathlib import Path

import pytest

from scripts.list_modules import PACKAGE, list_modules, rooms
from tests.command import in_process
from tests.configs import parse_config
from trnbench.cli.main import COMMANDS
from trnbench.errors import ExitCode

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_every_module_is_on_the_map() -> None:
    page = (ROOT / "docs" / "map.md").read_text()
    assert page == list_modules(), "python scripts/list_modules.py > docs/map.md"


def test_every_room_with_code_is_on_the_map() -> None:
    assert {path.parent for path in PACKAGE.rglob("*.py")} == set(rooms())


def test_the_exit_codes_are_those_of_the_code() -> None:
    table = README.split("## Exit codes")[1].split("##")[0]
    cells = re.findall(r"^\| ([\d, ]+) \|", table, flags=re.MULTILINE)
    told = {int(code) for cell in cells for code in cell.split(",")}
    assert told == {code.value for code in ExitCode}


def test_every_command_is_told() -> None:
    for name in COMMANDS:
        assert f"trnbench {name}" in README


def test_the_example_config_is_one() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    cases = parse_config(example, "README.md")
    assert [case.config.workload.micro_batch_size for case in cases] == [1, 2]
    assert all(case.config.model == "llama3.2-1b" for case in cases)


def test_every_benchmark_is_told_with_what_it_printed() -> None:
    told = (ROOT / "benchmarks" / "README.md").read_text()
    for script in (ROOT / "benchmarks").glob("*.py"):
        assert f"benchmarks/{script.name}" in told
        assert (ROOT / "benchmarks" / "prints" / f"{script.stem}.txt").stat().st_size > 0


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "benchmarks" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_page_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    for name in re.findall(r"`((?:docs|configs|benchmarks)/[\w./-]*)`", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([\w./-]+)\)", text):
        assert (page.parent / name).exists(), name


def test_everything_that_the_table_of_additions_names_is_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    table = page.split("## Where to add a thing")[1].split("\n## ")[0]
    source = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    for name in re.findall(r"`([^`]+)`", table):
        if re.fullmatch(r"[\w./*<>-]*(?:/|\.(?:py|csv|yaml|md))", name):
            pattern = name.replace("<name>", "*")
            assert any([*ROOT.glob(pattern), *PACKAGE.glob(pattern)]), name
        elif re.fullmatch(r"[A-Z][A-Z_]+", name):
            assert re.search(rf"^{name}\b.* = ", source, flags=re.MULTILINE), name


def test_every_page_is_led_to() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} <= set(
        re.findall(r"\]\(([\w.-]+\.md)\)", index)
    )


def test_every_heading_that_a_docstring_names_is_there() -> None:
    source = " ".join(
        " ".join(path.read_text().split()) for path in (ROOT / "src" / "trnbench").rglob("*.py")
    )
    headings = set(re.findall(r"^## (.+)$", (ROOT / "docs" / "metrics.md").read_text(), re.M))
    named = {
        heading
        for places in re.findall(r'docs/metrics\.md((?:,? (?:and )?"[^"]+")+)', source)
        for heading in re.findall(r'"([^"]+)"', places)
    }
    assert len(named) >= 8
    assert named <= headings


def test_the_table_is_that_of_the_kept_run() -> None:
    done = in_process(
        "report", ROOT / "results/cpu-xeon", "--usd-per-hour", "0.10", "--format", "markdown"
    )
    assert done.code == 0, done.err
    printed, told = (
        [re.sub(r"user \d{4}-\d\d-\d\d", "user DAY", line) for line in text.splitlines()]
        for text in (done.out, (ROOT / "README.md").read_text(encoding="utf-8"))
    )
    rows = [line for line in printed if line.startswith("|")]
    assert len(rows) > 3
    assert set(rows) <= set(told)
