"""What type hints become, and what arguments become."""

import enum
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Optional, TypedDict, Union

import pytest
from typing_extensions import NotRequired
from typing_extensions import TypedDict as NewTypedDict

from proactive_worker import Context, DeclarationError, Field, ValueProblem, Worker

KEYWORDS = set(
    "type format title description nullable enum maxItems minItems properties required minLength "
    "maxLength pattern anyOf items minimum maximum".split()
)


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Point:
    """Where it is."""

    x: int
    y: Annotated[int, "upwards"] = 0
    tags: list[str] = field(default_factory=list)


@dataclass
class Bare:
    point: Point


class Address(TypedDict):
    street: str


class Partly(NewTypedDict):
    street: str
    number: NotRequired[int]


POINT = {
    "type": "object",
    "description": "Where it is.",
    "properties": {
        "x": {"type": "integer"},
        "y": {"type": "integer", "description": "upwards"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["x"],
}

TABLE: list[tuple[Any, dict[str, Any], Any, Any]] = [
    # The hint, its schema, an argument, what the tool gets.
    (str, {"type": "string"}, "a", "a"),
    (int, {"type": "integer"}, 3.0, 3),
    (float, {"type": "number"}, 3, 3.0),
    (bool, {"type": "boolean"}, True, True),
    (list[int], {"type": "array", "items": {"type": "integer"}}, [1, 2.0], [1, 2]),
    (dict, {"type": "object"}, {"a": b"x"}, {"a": b"x"}),
    (dict[str, Any], {"type": "object"}, {"a": 1}, {"a": 1}),
    (dict[str, float], {"type": "object"}, {"a": 1}, {"a": 1.0}),
    (Optional[int], {"type": "integer", "nullable": True}, None, None),
    (str | None, {"type": "string", "nullable": True}, "a", "a"),
    (
        Union[int, list[str]],
        {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]},
        ["a"],
        ["a"],
    ),
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}, "b", "b"),
    (Size, {"type": "string", "enum": ["s", "l"]}, "l", Size.LARGE),
    (Point, POINT, {"x": 1, "odd": 2}, Point(1)),
    (list[Point], {"type": "array", "items": POINT}, [{"x": 1, "y": 2}], [Point(1, 2)]),
    (
        Bare,
        {"type": "object", "properties": {"point": POINT}, "required": ["point"]},
        {"point": {"x": 1, "y": None}},
        Bare(Point(1)),
    ),
    (
        Address,
        {"type": "object", "properties": {"street": {"type": "string"}}, "required": ["street"]},
        {"street": "a"},
        {"street": "a"},
    ),
    (
        Partly,
        {
            "type": "object",
            "properties": {"street": {"type": "string"}, "number": {"type": "integer"}},
            "required": ["street"],
        },
        {"street": "a"},
        {"street": "a"},
    ),
    (
        Annotated[int, "how many", Field(minimum=1, maximum=9)],
        {"type": "integer", "description": "how many", "minimum": 1, "maximum": 9},
        9,
        9,
    ),
    (
        Annotated[str, Field(description="a code", min_length=2, max_length=3, pattern="^[A-Z]+$")],
        {"type": "string", "description": "a code", "minLength": 2, "maxLength": 3, "pattern": "^[A-Z]+$"},
        "AB",
        "AB",
    ),
    (
        Annotated[list[str], Field(min_items=1, max_items=2)],
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        ["a"],
        ["a"],
    ),
]


def declared(hint: Any) -> Any:
    worker = Worker(name="schemas")

    async def tool(it, context: Context, default: int = 3):  # type: ignore[no-untyped-def]
        """Takes it."""

    tool.__annotations__["it"] = hint
    worker.tool(tool)
    return worker.tools[0].parameters


def keywords(schema: dict[str, Any]) -> set[str]:
    found = set(schema)
    for inner in [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]:
        found |= keywords(inner)
    if "items" in schema:
        found |= keywords(schema["items"])
    return found


@pytest.mark.parametrize(("hint", "schema", "argument", "given"), TABLE, ids=lambda it: str(it)[:30])
def test_a_type_hint_has_its_schema_and_reads_its_arguments(
    hint: Any, schema: Any, argument: Any, given: Any
) -> None:
    parameters = declared(hint)
    assert parameters.schema == {
        "type": "object",
        "properties": {"it": schema, "default": {"type": "integer"}},
        "required": ["it"],
    }
    assert keywords(parameters.schema) <= KEYWORDS
    json.dumps(parameters.schema)
    read = parameters.parse({"it": argument})
    assert read == {"it": given}
    assert type(read["it"]) is type(given)
    assert parameters.contexts == ("context",)


@pytest.mark.parametrize(
    ("hint", "argument", "told"),
    [
        (str, 1, "it must be a text, not another number"),
        (int, True, "it must be a whole number, not true or false"),
        (int, 1.5, "it must be a whole number, not another number"),
        (float, float("nan"), "it must be a number"),
        (float, True, "it must be a number"),
        (bool, 1, "it must be true or false"),
        (str, None, "it must be a text, not null"),
        (list[list[int]], [[1], ["secret"]], "it[1][0] must be a whole number, not a text"),
        (Size, "secret", "it must be one of s, l"),
        (Point, {"y": 1}, "it.x is missing"),
        (Bare, {"point": {"x": "secret"}}, "it.point.x must be a whole number, not a text"),
        (Union[int, bool], "secret", "it fits none of the types"),
        (Annotated[int, Field(minimum=1)], 0, "it must be 1 or more"),
        (Annotated[str, Field(max_length=2)], "abc", "it must be 2 characters or shorter"),
        (Annotated[str, Field(pattern="^[A-Z]$")], "a", "it must be a text that fits ^[A-Z]$"),
        (Annotated[list[int], Field(max_items=1)], [1, 2], "it must be 1 items or fewer"),
    ],
)
def test_an_argument_that_does_not_fit_is_told_and_never_quoted(hint: Any, argument: Any, told: str) -> None:
    with pytest.raises(ValueProblem) as raised:
        declared(hint).parse({"it": argument})
    assert str(raised.value).startswith(told)
    assert "secret" not in str(raised.value)


def test_a_missing_argument_is_told() -> None:
    with pytest.raises(ValueProblem, match="it is missing"):
        declared(int).parse({"default": 1})
    assert declared(int).parse({"it": 1, "default": None}) == {"it": 1}, "null, where it may be left out"


class Within(TypedDict):
    inner: "list[Within]"


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (complex, "complex cannot be told to a model"),
        (bytes, "bytes cannot be told to a model"),
        (Any, "Any cannot be told to a model"),
        (list, "of what is the list"),
        (set[str], "cannot be told to a model"),
        (dict[int, str], "the names in an object are str, not int"),
        (Literal[1, 2], "a model chooses among texts, and 1 is none"),
        (Within, "within itself"),
        (list[complex], "complex cannot be told"),
        (Annotated[str, Field(minimum=1)], "minimum says nothing about string"),
        (Annotated[str, Field(pattern="(")], "the pattern is no regular expression"),
        ("Nowhere", "cannot be read"),
    ],
)
def test_a_hint_that_cannot_be_told_is_an_error_that_names_the_parameter(hint: Any, told: str) -> None:
    with pytest.raises(DeclarationError) as raised:
        declared(hint)
    assert told in str(raised.value)
    assert "tool 'tool'" in str(raised.value)
    if hint != "Nowhere":
        assert "parameter 'it" in str(raised.value)


def test_what_is_no_tool_is_an_error_where_it_is_declared() -> None:
    worker = Worker(name="odd")

    async def fine(a: int = 0) -> None:
        """Fine."""

    def blocking() -> None:
        """Blocks."""

    async def silent() -> None:
        pass

    async def untyped(a) -> None:  # type: ignore[no-untyped-def]
        """Says not what a is."""

    async def many(*args: int) -> None:
        """Takes any."""

    class Neither:
        """Neither."""

    class Needs:
        """Needs."""

        def __init__(self, a: int) -> None: ...

        async def execute(self) -> None: ...

    class Blocks:
        """Blocks."""

        def initialize(self, context: Context) -> None: ...

        async def execute(self) -> None: ...

    worker.tool(fine)
    for of, told in [
        (fine, "there is one of this name"),
        (blocking, "asyncio.to_thread"),
        (silent, "needs a description"),
        (untyped, "parameter 'a': has no type hint"),
        (many, "a tool is called by name"),
        (Neither, "neither __call__ nor execute"),
        (Needs, "needs a"),
        (Blocks, "initialize is not 'async def'"),
    ]:
        with pytest.raises(DeclarationError, match=told):
            worker.tool(of)
    with pytest.raises(DeclarationError, match="a tool's name is"):
        worker.tool(name="no-dashes")(fine)
    with pytest.raises(DeclarationError, match="1 to 1024"):
        worker.tool(name="long", description="x" * 1025)(fine)
    with pytest.raises(ValueError, match="name is"):
        Worker(name="Upper")
    assert [tool.name for tool in worker.tools] == ["fine"]


def test_streaming_is_what_an_async_generator_does() -> None:
    worker = Worker(name="streams")

    @worker.tool
    class Streams:
        """Streams."""

        async def __call__(self) -> AsyncIterator[int]:
            yield 1

    assert worker.tools[0].streaming
    assert Streams is not None
