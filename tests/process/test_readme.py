"""What README.md says of the project is what the project is."""

import re
import subprocess
import sys
from pathlib import Path

from trnbench.cli.main import COMMANDS
from trnbench.config.load import parse_config
from trnbench.schema.errors import ExitCode

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_every_module_is_listed_in_one_line() -> None:
    printed = subprocess.run(
        [sys.executable, ROOT / "scripts" / "list_modules.py"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert len(printed.splitlines()) > 60
    assert printed in README, "run scripts/list_modules.py and put what it prints into README.md"


def test_every_room_with_code_is_in_the_list_of_modules() -> None:
    package = ROOT / "src" / "trnbench"
    rooms = {path.parent.relative_to(package).as_posix() for path in package.rglob("*.py")}
    listed = set(re.findall(r"^([\w/]+)/ ", README, flags=re.MULTILINE))
    assert rooms - {"."} == listed - {"src/trnbench"}


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
    for script in (ROOT / "benchmarks").glob("*.py"):
        assert f"benchmarks/{script.name}" in README
        assert (ROOT / "benchmarks" / "prints" / f"{script.stem}.txt").stat().st_size > 0


def test_every_page_that_it_names_is_there() -> None:
    for page in re.findall(r"`((?:docs|configs|benchmarks)/[\w./-]*)`", README):
        assert (ROOT / page).exists(), page


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
