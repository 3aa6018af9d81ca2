"""Python's values and the contract's, both ways."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from ._generated import workers_pb2 as pb
from .errors import ValueProblem

MOST_LEVELS = 32
"""Of a value: a text has one, a list of texts two."""

_LEAST, _MOST = -(2**63), 2**63 - 1
_NULL = pb.NullValue()


def to_value(it: object, *, where: str = "value") -> pb.Value:
    """The contract's words for None, bool, int, float, str, bytes, lists, dicts, dataclasses, enums.

    Raises ValueProblem, which says where in it, for all else, an int beyond 64 bits, and what is
    nested more than 32 levels deep.
    """
    value = pb.Value()
    _fill(value, it, where, 1)
    return value


def to_object(it: Mapping[str, object], *, where: str = "value") -> pb.ObjectValue:
    """The same for a dict, whose names are texts."""
    value = pb.ObjectValue()
    _fill_object(value, it, where, 1)
    return value


def from_value(value: pb.Value) -> Any:
    """None, bool, int, float, str, bytes, list or dict."""
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null":
        return None
    if kind == "list":
        return [from_value(item) for item in value.list.items]
    if kind == "object":
        return from_object(value.object)
    return getattr(value, kind)


def from_object(value: pb.ObjectValue) -> dict[str, Any]:
    """The same for an object."""
    return {name: from_value(it) for name, it in value.fields.items()}


def _fill(value: pb.Value, it: object, where: str, level: int) -> None:
    if level > MOST_LEVELS:
        raise ValueProblem(f"{_place(where)}: more than {MOST_LEVELS} levels")
    if isinstance(it, enum.Enum):
        it = it.value
    if it is None:
        value.null.CopyFrom(_NULL)
    elif isinstance(it, bool):
        value.boolean = it
    elif isinstance(it, int):
        if not _LEAST <= it <= _MOST:
            raise ValueProblem(f"{_place(where)}: an int of more than 64 bits")
        value.integer = it
    elif isinstance(it, float):
        value.number = it
    elif isinstance(it, str):
        value.text = _text(it, where)
    elif isinstance(it, (bytes, bytearray, memoryview)):
        value.binary = bytes(it)
    elif isinstance(it, (list, tuple)):
        value.list.SetInParent()
        for index, item in enumerate(it):
            _fill(value.list.items.add(), item, f"{where}[{index}]", level + 1)
    elif isinstance(it, Mapping):
        value.object.SetInParent()
        _fill_object(value.object, it, where, level)
    elif dataclasses.is_dataclass(it) and not isinstance(it, type):
        value.object.SetInParent()
        fields = {field.name: getattr(it, field.name) for field in dataclasses.fields(it)}
        _fill_object(value.object, fields, where, level)
    else:
        kinds = "None, bool, int, float, str, bytes, list, dict and dataclasses can be sent"
        raise ValueProblem(f"{_place(where)}: {type(it).__name__}, but only {kinds}")


def _fill_object(value: pb.ObjectValue, it: Mapping[Any, object], where: str, level: int) -> None:
    for name, item in it.items():
        if not isinstance(name, str):
            raise ValueProblem(f"{_place(where)}: a name that is {type(name).__name__}, not str")
        _fill(value.fields[_text(name, where)], item, f"{where}.{name}", level + 1)


def _text(it: str, where: str) -> str:
    try:
        it.encode()
    except UnicodeEncodeError:
        raise ValueProblem(f"{_place(where)}: half of a surrogate pair, which is no text") from None
    return str(it)


def _place(where: str) -> str:
    return where if len(where) <= 100 else f"{where[:50]}…{where[-49:]}"
