"""Values make the round trip."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proactive_worker import ValueProblem
from proactive_worker._generated import workers_pb2 as pb
from proactive_worker.values import from_object, from_value, to_object, to_value

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | texts | st.binary()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=30)


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types, and NaN as itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(it, other[name]) for name, it in one.items())
    return bool(one == other)


@given(values)
def test_c04_a_value_survives_the_round_trip(value: Any) -> None:
    sent = to_value(value).SerializeToString()
    assert same(from_value(pb.Value.FromString(sent)), value)


@given(st.dictionaries(texts, values))
def test_c04_arguments_survive_the_round_trip(arguments: dict[str, Any]) -> None:
    sent = to_object(arguments).SerializeToString()
    assert same(from_object(pb.ObjectValue.FromString(sent)), arguments)


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    colour: Colour


def test_c04_what_is_like_a_value_becomes_one() -> None:
    like = {"tuple": (1, Colour.RED), "point": Point(1, Colour.RED), "bytes": bytearray(b"x")}
    became = {"tuple": [1, "red"], "point": {"x": 1, "colour": "red"}, "bytes": b"x"}
    assert from_value(to_value(like)) == became
    assert to_value([]).WhichOneof("kind") == "list"
    assert to_value({}).WhichOneof("kind") == "object"
    assert to_value(None).WhichOneof("kind") == "null"
    assert from_value(pb.Value()) is None


def nested(levels: int) -> Any:
    return {} if levels == 1 else {"n": nested(levels - 1)}


def test_a_value_has_at_most_32_levels() -> None:
    deep = pb.Value.FromString(to_value(nested(32)).SerializeToString())
    assert from_value(deep) == nested(32)
    with pytest.raises(ValueProblem, match="more than 32 levels"):
        to_value(nested(33))
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueProblem, match="more than 32 levels"):
        to_value(endless)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (2**63, "value: an int of more than 64 bits"),
        ([-(2**63) - 1], "value[0]: an int of more than 64 bits"),
        ({"a": {1, 2}}, "value.a: set, but only"),
        ({"a": [0, {1: 2}]}, "value.a[1]: a name that is int, not str"),
        ("\ud800", "value: half of a surrogate pair"),
        (Point, "value: type, but only"),
    ],
)
def test_what_cannot_be_sent_is_told_with_its_place(value: Any, told: str) -> None:
    with pytest.raises(ValueProblem) as raised:
        to_value(value)
    assert str(raised.value).startswith(told)
