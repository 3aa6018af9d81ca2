"""A tool: what the server is told of it, and how it is begun."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ._generated import workers_pb2 as pb
from .context import Context
from .errors import DeclarationError
from .schema import Parameters, parameters_of

MOST_DESCRIPTION = 1024
"""Characters."""
MOST_SCHEMA = 16 * 1024
"""Bytes, as JSON."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class Tool:
    """A tool that has been declared."""

    name: str
    description: str
    parameters: Parameters
    streaming: bool
    changes: bool
    _of: Callable[..., Any]

    def declaration(self) -> pb.ToolDeclaration:
        """As it stands in a hello."""
        return pb.ToolDeclaration(
            name=self.name,
            description=self.description,
            parameters_json=_json(self.parameters.schema),
            streaming=self.streaming,
            changes=self.changes,
        )

    async def begin(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """An awaitable, or of a streaming tool an asynchronous generator, of this one call."""
        run = self._of
        if isinstance(run, type):
            instance = run()
            if hasattr(instance, "initialize"):
                await instance.initialize(context)
            run = getattr(instance, _method(type(instance), self.name))
        return run(**arguments, **dict.fromkeys(self.parameters.contexts, context))


def tool_of(of: Callable[..., Any], name: str | None, description: str | None, changes: bool) -> Tool:
    """Reads a function or a class; DeclarationError says what cannot be declared."""
    if name is None:
        name = str(getattr(of, "__name__", ""))
        if isinstance(of, type):
            name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    if not _NAME.fullmatch(name):
        what = "1 to 64 of a-z, A-Z, 0-9 and '_', not beginning with a digit"
        raise DeclarationError(f"tool {name!r}: a tool's name is {what}")
    function = of
    if isinstance(of, type):
        function = _inspected(of, name)
    if not inspect.iscoroutinefunction(function) and not inspect.isasyncgenfunction(function):
        hint = "make it 'async def', with asyncio.to_thread for what blocks"
        raise DeclarationError(f"tool {name!r}: is not asynchronous; {hint}")
    text = description if description is not None else of.__doc__
    text = inspect.cleandoc(text or "").strip()
    if not 1 <= len(text) <= MOST_DESCRIPTION:
        wanted = f"a description of 1 to {MOST_DESCRIPTION} characters: its docstring"
        raise DeclarationError(f"tool {name!r}: needs {wanted}, and has one of {len(text)}")
    parameters = parameters_of(function, name, Context, is_method=isinstance(of, type))
    if len(_json(parameters.schema).encode()) > MOST_SCHEMA:
        raise DeclarationError(f"tool {name!r}: its parameters take more than {MOST_SCHEMA} bytes of JSON")
    return Tool(name, text, parameters, inspect.isasyncgenfunction(function), changes, of)


def _json(schema: dict[str, Any]) -> str:
    # The same text from every worker, for all must declare the same.
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


def _method(of: type, name: str) -> str:
    for method in ("execute", "__call__"):
        # Every class can be called; what counts is whether its instances can.
        if any(method in vars(kind) for kind in of.__mro__):
            return method
    raise DeclarationError(f"tool {name!r}: the class has neither __call__ nor execute")


def _inspected(of: type, name: str) -> Callable[..., Any]:
    """The method that is called, as it looks from outside; and the class can be made."""
    method = getattr(of, _method(of, name))
    initialize = getattr(of, "initialize", None)
    if initialize is not None and not inspect.iscoroutinefunction(initialize):
        raise DeclarationError(f"tool {name!r}: initialize is not 'async def'")
    needed = [
        parameter.name
        for parameter in inspect.signature(of).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        raise DeclarationError(f"tool {name!r}: its class is made without arguments, and needs {needed[0]}")
    return method  # type: ignore[no-any-return]
