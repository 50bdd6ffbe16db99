"""Strict YAML: what a scalar means, where each key stands, and every way a file can be refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.each import check_each
from trnbench.config.yaml import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    Document,
    parse_document,
    parse_value,
    read_document,
)
from trnbench.errors import ConfigError, Problem


def fault_of_text(text: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "suite.yaml")
    (problem,) = caught.value.problems
    assert problem.hint
    return problem


def fault_of_file(path: Path) -> Problem:
    with pytest.raises(ConfigError) as caught:
        read_document(path)
    (problem,) = caught.value.problems
    assert problem.message.startswith(f"{path}: ")
    assert problem.hint
    return problem


def test_a_scalar_means_what_yaml_1_2_says() -> None:
    def check(written: str, meant: object) -> None:
        value = parse_value(written, "--set key")
        assert value == meant
        assert type(value) is type(meant)

    check_each(
        [
            ("no", "no"),
            ("yes", "yes"),
            ("on", "on"),
            ("Off", "Off"),
            ("y", "y"),
            ("12:30", "12:30"),
            ("2026-11-23", "2026-11-23"),
            ("1_000", "1_000"),
            ("true", True),
            ("False", False),
            ("tRUE", "tRUE"),
            ("~", None),
            ("null", None),
            ("nULL", "nULL"),
            ("0", 0),
            ("-7", -7),
            ("+7", 7),
            ("017", 17),
            ("0o17", 15),
            ("0x1F", 31),
            ("0b1", "0b1"),
            ("1e-4", 1e-4),
            ("1E3", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-1.5e+2", -150.0),
            (".inf", math.inf),
            ("-.INF", -math.inf),
            ("1e", "1e"),
            (".", "."),
            ("'3'", "3"),
            ('"null"', "null"),
            ("!!str 3", "3"),
            ("|\n  3", "3"),
        ],
        check,
    )


def test_not_a_number_is_read_as_one() -> None:
    assert math.isnan(parse_value(".nan", "--set key"))


@pytest.mark.parametrize("text", ["", "  ", "null", "~", "# nothing"])
def test_a_value_that_says_nothing_is_none(text: str) -> None:
    assert parse_value(text, "--set key") is None


def test_every_key_and_item_knows_its_line() -> None:
    document = parse_document("a:\n  b: 1\n  c:\n    - x\n    - d: 2\ne: 3\n", "suite.yaml")
    assert document.data == {"a": {"b": 1, "c": ["x", {"d": 2}]}, "e": 3}
    assert document.where(("a", "b")) == "suite.yaml, line 2"
    assert document.where(("a", "c", 1, "d")) == "suite.yaml, line 5"
    assert document.where(("e",)) == "suite.yaml, line 6"


def test_a_key_that_is_not_there_is_placed_at_its_nearest_parent() -> None:
    document = parse_document("x: 1\na:\n  b: 1\n", "suite.yaml")
    assert document.where(("a", "missing", "deeper")) == "suite.yaml, line 2"
    assert document.where(("missing",)) == "suite.yaml, line 1"


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    problem = fault_of_text("a: 1\nb: 2\na: 3\n")
    assert problem.message == "suite.yaml, line 3: the key 'a' appears twice (first on line 1)"


def test_a_duplicate_key_inside_a_mapping_is_refused_with_both_lines() -> None:
    problem = fault_of_text("a:\n  b: 1\n  c: 2\n  'b': 3\n")
    assert problem.message == "suite.yaml, line 4: the key 'b' appears twice (first on line 2)"


def test_all_duplicate_keys_are_told_at_once_and_each_once() -> None:
    text = "a: 1\nb: &x {c: 1, c: 2}\na: [1]\nd: *x\na: {e: 1, e: 1}\n"
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "suite.yaml")
    assert [problem.message for problem in caught.value.problems] == [
        "suite.yaml, line 2: the key 'c' appears twice (first on line 2)",
        "suite.yaml, line 3: the key 'a' appears twice (first on line 1)",
        "suite.yaml, line 5: the key 'a' appears twice (first on line 1)",
        "suite.yaml, line 5: the key 'e' appears twice (first on line 5)",
    ]


def test_an_alias_repeats_its_anchor_and_stands_on_its_own_line() -> None:
    document = parse_document("a: &x {b: 1}\nc: *x\n", "suite.yaml")
    assert document.data == {"a": {"b": 1}, "c": {"b": 1}}
    assert document.where(("c", "b")) == "suite.yaml, line 2"


def test_an_alias_is_a_copy_that_can_be_changed_alone() -> None:
    data = parse_document("a: &x {b: [1]}\nc: *x\n", "suite.yaml").data
    data["c"]["b"].append(2)
    assert data["a"] == {"b": [1]}


def test_a_name_that_is_anchored_again_means_the_value_before_it() -> None:
    text = "a: &x 1\nb: &y [*x]\nc: &x 2\nd: [*y, *x]\n"
    assert parse_document(text, "suite.yaml").data["d"] == [[1], 2]


def test_a_merge_key_gives_way_to_the_keys_beside_it() -> None:
    for text in (
        "base: &base {a: 1, b: 2}\nuse:\n  <<: *base\n  b: 3\n",
        "base: &base {a: 1, b: 2}\nuse:\n  b: 3\n  <<: *base\n",
    ):
        data = parse_document(text, "suite.yaml").data
        assert data["use"] == {"a": 1, "b": 3}
        assert data["base"] == {"a": 1, "b": 2}


def test_a_merged_key_is_placed_where_it_is_merged() -> None:
    document = parse_document("base: &base {a: 1}\nuse:\n  <<: *base\n  b: 3\n", "suite.yaml")
    assert document.where(("use", "a")) == "suite.yaml, line 3"
    assert document.where(("use", "b")) == "suite.yaml, line 4"


def nested(levels: int, inner: str = "1") -> str:
    return "[" * levels + inner + "]" * levels


DEEP_ALIASES = "\n".join(
    f"k{i}: {{<<: {{hidden: &a{i} {nested(30, '1' if i == 0 else f'*a{i - 1}')}}}, hidden: 1}}"
    for i in range(30)
)
"""Each level is shallow as written, and the last is 900 deep as meant."""


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\n---\nb: 2\n", 2, "a second document starts"),
        ("a: 1\nb: !!python/object/apply:os.system [x]\n", 2, "has the tag"),
        ("a: !!int '3'\n", 1, "has the tag 'tag:yaml.org,2002:int'"),
        ("a: !!strange 3\n", 1, "has the tag 'tag:yaml.org,2002:strange'"),
        ("a: !mine {b: 1}\n", 1, "has the tag '!mine'"),
        ("x: 1\na: &self [1, *self]\n", 2, "*self refers to itself"),
        ("a: &self {b: *self}\n", 1, "*self refers to itself"),
        ("a: *nowhere\n", 1, "*nowhere has no anchor"),
        ("a: 1\n<<: [1]\n", 2, "<< merges something that is not a mapping"),
        ("? [a, b]\n: 1\n", 1, "a key is not a word"),
        ("a:\n  1: 2\n", 2, "the key '1' is not a word"),
        ("true: 2\n", 1, "the key 'true' is not a word"),
        (f"a: {nested(MAX_DEPTH + 1)}\n", 1, f"is nested deeper than {MAX_DEPTH}"),
        (DEEP_ALIASES, 2, f"is nested deeper than {MAX_DEPTH}"),
        ("a: 1\nb: [1, 2\n", 3, "is not YAML"),
        ("a: 1\n\tb: 2\n", 2, "is not YAML"),
        ("a: 'open\n", 2, "is not YAML"),
        ("a: b: c\n", 1, "is not YAML"),
        ("- 1\nb: 2\n", 2, "is not YAML"),
        ("%YAML 9.9\n---\na: 1\n", 1, "is not YAML"),
    ],
)
def test_what_is_not_strict_yaml_is_refused_at_its_line(text: str, line: int, words: str) -> None:
    problem = fault_of_text(text)
    assert problem.message.startswith(f"suite.yaml, line {line}: ")
    assert words in problem.message


def test_the_deepest_nesting_that_is_allowed_is_read() -> None:
    value: Any = parse_document(nested(MAX_DEPTH), "suite.yaml").data
    depth = 0
    while isinstance(value, list):
        value, depth = value[0], depth + 1
    assert depth == MAX_DEPTH


def test_an_alias_is_as_deep_as_what_it_stands_for() -> None:
    anchored = f"x: {{y: &deep {nested(30)}}}\n"
    used = MAX_DEPTH - 30 - 1  # levels around the alias, below the mapping
    parse_document(f"{anchored}z: {nested(used, '*deep')}\n", "suite.yaml")
    problem = fault_of_text(f"{anchored}z: {nested(used + 1, '*deep')}\n")
    assert problem.message == f"suite.yaml, line 2: is nested deeper than {MAX_DEPTH}"


def test_an_alias_counts_as_many_values_as_it_stands_for() -> None:
    listed = ", ".join(["1"] * 99)
    whole = f"x: [{', '.join(['1'] * 9_000)}]\ny: &hundred [{listed}]\n"
    parse_document(f"{whole}z: [{', '.join(['*hundred'] * 100)}]\n", "suite.yaml")
    assert (
        "holds more than" in fault_of_text(f"{whole}z: [{', '.join(['*hundred'] * 110)}]\n").message
    )


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "null\n"])
def test_an_empty_document_is_refused_with_where_to_look(text: str) -> None:
    problem = fault_of_text(text)
    assert problem.message == "suite.yaml: is empty"
    assert "trnbench init" in problem.hint


@pytest.mark.parametrize("text", ["a: \x00", "a: \x07", "a: \ud800", "\udcff"])
def test_characters_that_no_text_file_holds_are_refused(text: str) -> None:
    assert fault_of_text(text).message.startswith("suite.yaml: is not YAML: ")


@pytest.mark.timeout(60)
def test_a_billion_laughs_are_refused_before_they_are_built() -> None:
    laughs = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    laughs += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    problem = fault_of_text("\n".join(laughs))
    assert problem.message == (
        f"suite.yaml, line 5: holds more than {MAX_NODES:,} values (aliases are counted each time)"
    )


def test_a_document_of_too_many_values_is_refused() -> None:
    listed = ", ".join(["1"] * MAX_NODES)
    assert "holds more than" in fault_of_text(f"a: [{listed}]").message


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert fault_of_file(tmp_path / "none.yaml").message.endswith(": no such file")


def test_a_folder_is_told(tmp_path: Path) -> None:
    assert fault_of_file(tmp_path).message.endswith(": is a folder")


def test_a_path_through_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a: 1")
    assert "cannot be read: Not a directory" in fault_of_file(tmp_path / "file" / "x.yaml").message


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: café".encode("latin-1"))
    assert fault_of_file(path).message.endswith(": is not UTF-8 text")


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.touch()
    assert fault_of_file(path).message.endswith(": is empty")


@pytest.mark.timeout(60)
def test_a_file_of_fifty_megabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as stream:
        stream.truncate(50_000_000)
    assert fault_of_file(path).message.endswith(f": is longer than {MAX_BYTES:,} bytes")


def test_a_file_as_long_as_is_allowed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_bytes(b"a: 1\n".ljust(MAX_BYTES, b"#"))
    assert read_document(path).data == {"a": 1}


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "notepad.yaml"
    path.write_text("a: 1\n", encoding="utf-8-sig")
    assert read_document(path).data == {"a": 1}


words = st.text(st.characters(exclude_categories=["Cc", "Cn", "Co", "Cs", "Zl", "Zp"]))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_json_is_read_as_what_it_says(value: Any) -> None:
    text = json.dumps({"a": value}, ensure_ascii=False)
    assert parse_document(text, "suite.yaml").data == {"a": value}


def problems_of(read: Callable[[], Document]) -> tuple[Problem, ...]:
    try:
        assert read().data is not None
    except ConfigError as error:
        return error.problems
    return ()


@given(st.text(), st.sampled_from(["", "a: ", "a: &x ", "- "]))
def test_no_text_raises_anything_but_a_config_error(text: str, prefix: str) -> None:
    for problem in problems_of(lambda: parse_document(prefix + text, "suite.yaml")):
        assert problem.message.startswith("suite.yaml")
        assert problem.hint


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(content)
    for problem in problems_of(lambda: read_document(path)):
        assert problem.message.startswith(str(path))
        assert problem.hint
