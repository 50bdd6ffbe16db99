"""`trnbench cost`, `rank` and `prices --history` as a user types them."""

import json
import shutil
from pathlib import Path

import pytest

from tests.command import in_process

CASE = (
    Path(__file__).resolve().parents[2] / "golden" / "schema" / "v1" / "tiny-gpt2-fp32-cpu-a7fe4285"
)


def test_a_sheet_is_made_of_an_old_result_at_any_price() -> None:
    done = in_process("cost", CASE, "--usd-per-hour", "3.5", "--tokens", "10B")
    assert done.code == 0, done.err
    assert "to train 10 B   $" in done.out
    assert "none is published for Trainium" in done.out


def test_a_sheet_is_one_json_document() -> None:
    done = in_process(
        "cost", CASE, "--usd-per-hour", "3.5", "--tokens", "1e9", "--failures-per-day", "0",
        "--compile", "1h", "--start", "0s", "--checkpoint-every", "1h", "--json",
    )  # fmt: skip
    (found,) = json.loads(done.out)["costs"]
    expected = found["to_train"]["expected"]
    assert expected["total_seconds"] == pytest.approx(
        expected["productive_seconds"] * (1 + 60 / 3600) + 3600
    )
    assert expected["usd"] == pytest.approx(expected["total_seconds"] / 3600 * 3.5)


def test_a_result_without_a_price_says_what_sets_one() -> None:
    done = in_process("cost", CASE)
    assert done.code == 0
    assert "nobody knows what this machine costs" in done.out
    (found,) = json.loads(in_process("cost", CASE, "--json").out)["costs"]
    assert "nobody knows" in found["reason"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--tokens", "lots"], 2, "--tokens lots: is not a count"),
        (["--tokens", "0"], 2, "--tokens 0: is not from 1 to 1e24"),
        (["--restart", "soon"], 2, "--restart soon: is not a duration"),
        (["--checkpoint", "0s"], 2, "have no best interval"),
        (["--checkpoint-every", "0s"], 2, "is not an interval"),
        (["--failures-per-day", "-1"], 2, "failures-per-day"),
        (["--pue", "0.5"], 2, "pue"),
        (["--usd-per-hour", "0"], 2, "--usd-per-hour 0"),
        (["/nowhere"], 5, "no such folder"),
    ],
)
def test_bad_input_is_named(arguments: list[str], code: int, said: str) -> None:
    where = [] if "/nowhere" in arguments else [CASE]
    done = in_process("cost", *where, *arguments)
    assert done.code == code, done.err
    assert said in done.err


def test_nothing_is_printed_where_nothing_can_be_read(tmp_path: Path) -> None:
    done = in_process("cost", tmp_path)
    assert (done.code, done.out) == (5, "")


def test_what_can_be_read_is_told_beside_what_cannot(tmp_path: Path) -> None:
    shutil.copytree(CASE, tmp_path / "good")
    (tmp_path / "bad" / "case").mkdir(parents=True)
    (tmp_path / "bad" / "case" / "plan.json").write_text("{")
    done = in_process("cost", tmp_path / "good", tmp_path / "bad", "--usd-per-hour", "1")
    assert done.code == 5
    assert "to train" in done.out
    assert "bad" in done.err
