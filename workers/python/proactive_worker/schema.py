"""JSON Schemas from type hints, with the keywords that Gemini accepts, and arguments back."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from typing_extensions import NotRequired, Required, get_type_hints, is_typeddict

from .errors import DeclarationError, ValueProblem

Schema = dict[str, Any]
Parse = Callable[[Any, str], Any]
"""Makes an argument of what came, or raises ValueProblem, which begins with the place."""

_NESTING = 8


@dataclasses.dataclass(frozen=True)
class Field:
    """What an Annotated says of a parameter beyond its type.

    minimum and maximum are for numbers, inclusive; min_length, max_length (characters) and pattern
    (a regular expression that is found somewhere in it) for texts; min_items and max_items for lists.
    """

    description: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    min_items: int | None = None
    max_items: int | None = None


_KEYWORDS = {
    "minimum": ("minimum", ("integer", "number")),
    "maximum": ("maximum", ("integer", "number")),
    "min_length": ("minLength", ("string",)),
    "max_length": ("maxLength", ("string",)),
    "pattern": ("pattern", ("string",)),
    "min_items": ("minItems", ("array",)),
    "max_items": ("maxItems", ("array",)),
}


@dataclasses.dataclass(frozen=True)
class Shape:
    """A type: what the model is told of it, and how an argument of it is read."""

    schema: Schema
    parse: Parse


@dataclasses.dataclass(frozen=True)
class Parameters:
    """All parameters of a tool."""

    schema: Schema
    parse: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Keyword arguments of a call, or ValueProblem."""
    contexts: tuple[str, ...]
    """The parameters that are given the call's context."""


def parameters_of(
    function: Callable[..., Any], tool: str, context: type, *, is_method: bool = False
) -> Parameters:
    """Reads a function's signature; DeclarationError names the parameter that cannot be declared."""
    hints = _hints(function, f"tool {tool!r}")
    members: dict[str, tuple[Shape, bool]] = {}
    contexts = []
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters[1:] if is_method else parameters:
        name = parameter.name
        place = f"tool {tool!r}, parameter {name!r}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise DeclarationError(f"{place}: a tool is called by name, so no *, ** or / parameters")
        if name not in hints:
            raise DeclarationError(f"{place}: has no type hint")
        if hints[name] is context:
            contexts.append(name)
            continue
        members[name] = (shape_of(hints[name], place), parameter.default is parameter.empty)
    whole = _object(members, dict)
    return Parameters(whole.schema, lambda given: dict(whole.parse(given, "")), tuple(contexts))


def shape_of(hint: Any, place: str, depth: int = 0) -> Shape:
    """The shape of one type hint; `place` begins the message of a DeclarationError."""
    if depth > _NESTING:
        raise DeclarationError(f"{place}: nested more than {_NESTING} deep, or within itself")
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(shape_of(args[0], place, depth), args[1:], place)
    if origin in (Union, types.UnionType):
        return _union(args, place, depth)
    if origin is Literal:
        return _enum({it: it for it in args}, place)
    if origin in (list, Sequence):
        return _list(args, place, depth)
    if origin in (dict, Mapping):
        return _dict(args, place, depth)
    if hint in _SIMPLE:
        kind, parse = _SIMPLE[hint]
        return Shape({"type": kind}, parse)
    if hint is list:
        raise DeclarationError(f"{place}: of what is the list? Say list[str], for instance")
    if hint in (dict, Mapping):
        return Shape({"type": "object"}, _check(Mapping, "an object"))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _enum({member.value: member for member in hint}, place)
    if is_typeddict(hint):
        return _typed_dict(hint, place, depth)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _dataclass(hint, place, depth)
    known = "str, int, float, bool, list[…], dict, Optional, Literal, Enum, dataclass, TypedDict, Annotated"
    raise DeclarationError(f"{place}: {_name(hint)} cannot be told to a model; these can: {known}")


def _check(kind: Any, name: str) -> Parse:
    def parse(it: Any, where: str) -> Any:
        if not isinstance(it, kind):
            raise _unfit(it, where, name)
        return it

    return parse


def _integer(it: Any, where: str) -> int:
    # A model's 3 may come as 3.0.
    if isinstance(it, float) and it.is_integer():
        it = int(it)
    if isinstance(it, bool) or not isinstance(it, int):
        raise _unfit(it, where, "a whole number")
    return it


def _number(it: Any, where: str) -> float:
    if isinstance(it, bool) or not isinstance(it, (int, float)) or not math.isfinite(it):
        raise _unfit(it, where, "a number")
    return float(it)


_SIMPLE: dict[Any, tuple[str, Parse]] = {
    str: ("string", _check(str, "a text")),
    bool: ("boolean", _check(bool, "true or false")),
    int: ("integer", _integer),
    float: ("number", _number),
}


def _unfit(it: Any, where: str, wanted: str) -> ValueProblem:
    # Never the value itself: this becomes a message.
    names = {type(None): "null", str: "a text", bool: "true or false", dict: "an object", list: "a list"}
    is_number = isinstance(it, (int, float)) and not isinstance(it, bool)
    found = "another number" if is_number else names.get(type(it), type(it).__name__)
    return ValueProblem(f"{where} must be {wanted}, not {found}")


def _annotated(shape: Shape, notes: Sequence[Any], place: str) -> Shape:
    schema, checks = dict(shape.schema), []
    for note in notes:
        if isinstance(note, str):
            note = Field(description=note)
        if not isinstance(note, Field):
            continue
        if note.description is not None:
            schema["description"] = note.description
        for attribute, (keyword, kinds) in _KEYWORDS.items():
            bound = getattr(note, attribute)
            if bound is None:
                continue
            if schema.get("type") not in kinds or "enum" in schema:
                raise DeclarationError(f"{place}: {attribute} says nothing about {_name_of(schema)}")
            schema[keyword] = bound
            checks.append(_bound(keyword, bound, place))

    def parse(it: Any, where: str) -> Any:
        it = shape.parse(it, where)
        if it is not None:
            for fits, wanted in checks:
                if not fits(it):
                    raise ValueProblem(f"{where} must be {wanted}")
        return it

    return Shape(schema, parse)


def _bound(keyword: str, bound: Any, place: str) -> tuple[Callable[[Any], bool], str]:
    if keyword == "pattern":
        try:
            pattern = re.compile(bound)
        except re.error as error:
            raise DeclarationError(f"{place}: the pattern is no regular expression: {error}") from None
        return lambda it: pattern.search(it) is not None, f"a text that fits {bound}"
    return {
        "minimum": (lambda it: it >= bound, f"{bound} or more"),
        "maximum": (lambda it: it <= bound, f"{bound} or less"),
        "minLength": (lambda it: len(it) >= bound, f"{bound} characters or longer"),
        "maxLength": (lambda it: len(it) <= bound, f"{bound} characters or shorter"),
        "minItems": (lambda it: len(it) >= bound, f"{bound} items or more"),
        "maxItems": (lambda it: len(it) <= bound, f"{bound} items or fewer"),
    }[keyword]


def _union(args: Sequence[Any], place: str, depth: int) -> Shape:
    some = [arg for arg in args if arg is not type(None)]
    shapes = [shape_of(arg, place, depth + 1) for arg in some]
    or_null = len(some) < len(args)
    one = len(shapes) == 1
    schema: Schema = dict(shapes[0].schema) if one else {"anyOf": [shape.schema for shape in shapes]}
    if or_null:
        schema["nullable"] = True

    def parse(it: Any, where: str) -> Any:
        if it is None and or_null:
            return None
        if one:
            return shapes[0].parse(it, where)
        for shape in shapes:
            try:
                return shape.parse(it, where)
            except ValueProblem:
                continue
        raise ValueProblem(f"{where} fits none of the types that it may have")

    return Shape(schema, parse)


def _enum(members: Mapping[Any, Any], place: str) -> Shape:
    for value in members:
        if not isinstance(value, str) or not value:
            raise DeclarationError(f"{place}: a model chooses among texts, and {value!r} is none")

    def parse(it: Any, where: str) -> Any:
        if not isinstance(it, str) or it not in members:
            raise ValueProblem(f"{where} must be one of {', '.join(members)}")
        return members[it]

    return Shape({"type": "string", "enum": list(members)}, parse)


def _list(args: Sequence[Any], place: str, depth: int) -> Shape:
    item = shape_of(args[0], place, depth + 1)

    def parse(it: Any, where: str) -> Any:
        if not isinstance(it, list):
            raise _unfit(it, where, "a list")
        return [item.parse(one, f"{where}[{index}]") for index, one in enumerate(it)]

    return Shape({"type": "array", "items": item.schema}, parse)


def _dict(args: Sequence[Any], place: str, depth: int) -> Shape:
    if args[0] is not str:
        raise DeclarationError(f"{place}: the names in an object are str, not {_name(args[0])}")
    if args[1] is Any or args[1] is object:
        return Shape({"type": "object"}, _check(Mapping, "an object"))
    item = shape_of(args[1], place, depth + 1)

    # Gemini takes no additionalProperties, so the model is not told what the items are.
    def parse(it: Any, where: str) -> Any:
        if not isinstance(it, Mapping):
            raise _unfit(it, where, "an object")
        return {name: item.parse(one, f"{where}.{name}") for name, one in it.items()}

    return Shape({"type": "object"}, parse)


def _typed_dict(hint: Any, place: str, depth: int) -> Shape:
    members = {}
    for name, inner in _hints(hint, place).items():
        required = name in hint.__required_keys__
        # Where annotations are texts, the class itself did not see these.
        while (origin := get_origin(inner)) in (Required, NotRequired):
            required = origin is Required
            inner = get_args(inner)[0]
        members[name] = (shape_of(inner, f"{place}.{name}", depth + 1), required)
    return _object(members, dict, _doc(hint))


def _dataclass(hint: Any, place: str, depth: int) -> Shape:
    hints = _hints(hint, place)
    members = {}
    for field in dataclasses.fields(hint):
        if not field.init:
            continue
        missing = dataclasses.MISSING
        required = field.default is missing and field.default_factory is missing
        members[field.name] = (shape_of(hints[field.name], f"{place}.{field.name}", depth + 1), required)
    # Without a docstring of one's own, a dataclass has its signature.
    doc = _doc(hint)
    signature = doc is not None and doc.startswith(f"{hint.__name__}(")
    return _object(members, hint, None if signature else doc)


def _object(
    members: Mapping[str, tuple[Shape, bool]], make: Callable[..., Any], doc: str | None = None
) -> Shape:
    schema: Schema = {"type": "object"}
    if doc:
        schema["description"] = doc
    schema["properties"] = {name: shape.schema for name, (shape, _) in members.items()}
    required = [name for name, (_, required) in members.items() if required]
    if required:
        schema["required"] = required

    def parse(it: Any, where: str) -> Any:
        if not isinstance(it, Mapping):
            raise _unfit(it, where, "an object")
        inside = f"{where}." if where else ""
        # Names that the schema does not have are allowed by it, and left out.
        given = {}
        for name, (shape, needed) in members.items():
            if name in it:
                # Models say null where they mean nothing.
                if it[name] is None and not needed and not shape.schema.get("nullable"):
                    continue
                given[name] = shape.parse(it[name], f"{inside}{name}")
            elif needed:
                raise ValueProblem(f"{inside}{name} is missing")
        try:
            return make(**given)
        except ValueError as error:
            raise ValueProblem(f"{where or 'the call'}: {error}") from None

    return Shape(schema, parse)


def _hints(it: Any, place: str) -> dict[str, Any]:
    try:
        return dict(get_type_hints(it, include_extras=True))
    except (NameError, TypeError, SyntaxError) as error:
        raise DeclarationError(f"{place}: its type hints cannot be read: {error}") from None


def _doc(it: Any) -> str | None:
    return inspect.cleandoc(it.__doc__) if it.__doc__ else None


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", None) or repr(hint)


def _name_of(schema: Schema) -> str:
    return "a choice" if "enum" in schema else str(schema.get("type", "a union"))
