"""The door: every message is written and read unchanged, and nothing else is let through."""

import dataclasses
import functools
import json
import math
import types
import typing
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.protocol.codec import ProtocolError, decode, encode, from_json
from trnbench.protocol.model import ModelShape, RopeScaling
from trnbench.protocol.orders import COMMANDS, Finish, RunBlock, WorkOrder
from trnbench.protocol.records import (
    CHILD_RECORDS,
    Block,
    Built,
    Ceiling,
    CeilingPoint,
    Environment,
    Finished,
    Memory,
)

SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    str: st.text(max_size=20),
    type(None): st.none(),
}


@functools.cache
def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Return what an annotation of the protocol allows, made from the annotation alone."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if dataclasses.is_dataclass(annotation):
        hints = typing.get_type_hints(annotation)
        fields = {name: values_of(hint) for name, hint in hints.items()}
        return st.builds(typing.cast(type, annotation), **fields)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([values_of(option) for option in arguments])
    if origin is list:
        return st.lists(values_of(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=3)
    return SIMPLE[annotation]


MESSAGES = (*CHILD_RECORDS, *COMMANDS)


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_writing_and_reading_a_message_changes_nothing(cls: type) -> None:
    @given(values_of(cls))
    def check(message: Any) -> None:
        line = encode(message)
        assert "\n" not in line
        assert decode(line, MESSAGES) == message
        assert decode(line.encode(), MESSAGES) == message

    check()


@given(values_of(WorkOrder))
def test_writing_and_reading_an_order_changes_nothing(order: WorkOrder) -> None:
    assert from_json(WorkOrder, json.loads(encode(order))) == order


def test_kinds_tell_the_messages_apart() -> None:
    kinds = [cls.__dataclass_fields__["kind"].default for cls in MESSAGES]  # type: ignore[attr-defined]
    assert len(set(kinds)) == len(MESSAGES)
    assert all(isinstance(kind, str) for kind in kinds)


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Finished(at_seconds=1.0, steps=1).steps = 2  # type: ignore[misc]


BLOCK = Block(
    at_seconds=1.0,
    purpose="measure",
    first_step=3,
    steps=2,
    seconds=0.5,
    prepare_seconds=0.0,
    losses=[7.0, None],
    gradient_norms=[1.0, 1.0],
    oracle_losses=[0.7, 0.7],
)


def test_a_message_is_one_compact_line_of_json() -> None:
    assert encode(RunBlock(steps=3, purpose="warmup")) == (
        '{"kind":"run","steps":3,"purpose":"warmup"}'
    )
    told = '{"kind":"finish","communication_steps":0,"times_all_reduce":false}'
    assert encode(Finish()) == told


def test_an_int_serves_as_a_float() -> None:
    line = encode(BLOCK).replace('"seconds":0.5', '"seconds":1')
    seconds = decode(line, (Block,)).seconds
    assert (seconds, type(seconds)) == (1.0, float)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_not_a_number_cannot_be_sent(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(dataclasses.replace(BLOCK, seconds=value))
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(dataclasses.replace(BLOCK, losses=[value, 1.0]))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400])
def test_not_a_number_cannot_be_received(value: str) -> None:
    with pytest.raises(ProtocolError, match="seconds"):
        decode(encode(BLOCK).replace('"seconds":0.5', f'"seconds":{value}'), (Block,))
    with pytest.raises(ProtocolError, match="losses"):
        decode(encode(BLOCK).replace("[7.0,null]", f"[{value},null]"), (Block,))
    with pytest.raises(ProtocolError, match="losses"):
        decode(encode(BLOCK).replace("[7.0,null]", f"[7.0,{value}]"), (Block,))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "not a line of JSON"),
        ("warning: something", "not a line of JSON"),
        ('{"kind":"finished"', "not a line of JSON"),
        ("[" * 100_000, "not a line of JSON"),
        ("9" * 5000, "not a line of JSON"),
        (b"\xff\xfe\x00", "not a line of JSON"),
        ("[1]", "expected an object, got list"),
        ("null", "expected an object, got NoneType"),
        ("3", "expected an object, got int"),
        ("{}", "unknown kind 'None'"),
        ('{"kind":"surprise"}', "unknown kind 'surprise'"),
        ('{"kind":["finished"]}', "unknown kind"),
        ('{"kind":"finished","steps":1}', "Finished: missing field 'at_seconds'"),
        ('{"kind":"finished","at_seconds":1,"steps":1,"x":1}', "Finished: unknown field 'x'"),
        ('{"kind":"finished","at_seconds":1,"steps":1.0}', "steps: '1.0' is not int"),
        ('{"kind":"finished","at_seconds":1,"steps":true}', "steps: 'True' is not int"),
        ('{"kind":"finished","at_seconds":1,"steps":"1"}', "steps: '1' is not int"),
        ('{"kind":"finished","at_seconds":1,"steps":null}', "steps: 'None' is not int"),
        ('{"kind":"finished","at_seconds":"1","steps":1}', "at_seconds: '1' is not float"),
        ('{"kind":"finished","at_seconds":true,"steps":1}', "at_seconds: 'True' is not float"),
        ('{"kind":"phase","at_seconds":1,"name":"lunch"}', "name: 'lunch' is not"),
        ('{"kind":"phase","at_seconds":1,"name":["train"]}', "name: "),
    ],
)
def test_what_is_no_record_is_refused_by_name(line: str | bytes, words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(line, CHILD_RECORDS)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_record_is_no_command() -> None:
    with pytest.raises(ProtocolError, match="unknown kind 'finished'"):
        decode(encode(Finished(at_seconds=1.0, steps=1)), COMMANDS)


def environment(**fields: Any) -> str:
    known = Environment(
        at_seconds=1.0,
        wire_version=1,
        backend="cpu",
        device_name="a processor",
        device_count=1,
        asynchronous=False,
        proven=True,
        threads=None,
        versions={"torch": "2.13.0"},
        settings={},
    )
    return json.dumps({**json.loads(encode(known)), **fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"versions": {"torch": 2}}, "versions.torch: '2' is not str"),
        ({"versions": ["torch"]}, "versions: "),
        ({"threads": "two"}, "threads: 'two' is not int | None"),
        ({"proven": 1}, "proven: '1' is not bool"),
        ({"backend": None}, "backend: 'None' is not str"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(environment(**fields), CHILD_RECORDS)
    assert words in str(caught.value)


def test_a_fault_inside_a_nested_record_is_named_with_its_path() -> None:
    ceiling = Ceiling(
        at_seconds=1.0, dtype="float32", points=[CeilingPoint(size=8, flops_per_second=[1.0])]
    )
    line = encode(ceiling).replace('"size":8', '"size":8.5')
    with pytest.raises(ProtocolError, match=r"points\.size: '8\.5' is not int"):
        decode(line, CHILD_RECORDS)


SHAPE: dict[str, Any] = {
    "family": "llama", "layers": 2, "hidden_size": 8, "heads": 2, "kv_heads": 2, "head_dim": 4,
    "intermediate_size": 16, "vocabulary_size": 32, "max_positions": 64, "tied_embeddings": False,
    "qk_norm": False, "norm_epsilon": 1e-5, "rope_theta": 1e4, "rope_scaling": None,
    "init_std": 0.02,
}  # fmt: skip
SCALING = {
    "factor": 8.0, "low_frequency_factor": 1.0, "high_frequency_factor": 4.0,
    "original_max_positions": 8192,
}  # fmt: skip


def test_an_optional_part_may_be_there_or_not() -> None:
    assert from_json(ModelShape, SHAPE).rope_scaling is None
    shape = from_json(ModelShape, {**SHAPE, "rope_scaling": SCALING})
    assert shape.rope_scaling == RopeScaling(
        factor=8.0,
        low_frequency_factor=1.0,
        high_frequency_factor=4.0,
        original_max_positions=8192,
    )


@pytest.mark.parametrize("value", [3, [], {**SCALING, "extra": 1}, {"factor": 8.0}])
def test_an_optional_part_that_is_wrong_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError, match="rope_scaling"):
        from_json(ModelShape, {**SHAPE, "rope_scaling": value})


@pytest.mark.parametrize("document", [None, [], "llama", 3])
def test_a_shape_that_is_no_object_is_refused(document: Any) -> None:
    with pytest.raises(ProtocolError, match="ModelShape: expected an object"):
        from_json(ModelShape, document)


def test_absent_figures_stay_absent() -> None:
    memory = Memory(at_seconds=1.0, peak_bytes=None, counted="not metered")
    assert decode(encode(memory), CHILD_RECORDS).peak_bytes is None
    built = Built(at_seconds=1.0, parameter_count=1, parameter_bytes=4, embeddings_are_tied=True)
    with pytest.raises(ProtocolError, match="parameter_count"):
        decode(encode(built).replace('"parameter_count":1', '"parameter_count":null'), (Built,))


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_no_line_raises_anything_but_a_wire_error(line: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(line, CHILD_RECORDS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from([f.name for f in dataclasses.fields(Block)]), json_values)
def test_a_changed_field_is_read_as_it_is_or_refused(name: str, value: Any) -> None:
    line = json.dumps({**json.loads(encode(BLOCK)), name: value})
    try:
        record = decode(line, CHILD_RECORDS)
    except ProtocolError:
        return
    kept = getattr(record, name)
    # A whole number in a float's place is read as the float that is nearest.
    assert kept == (float(value) if isinstance(kept, float) else value)
