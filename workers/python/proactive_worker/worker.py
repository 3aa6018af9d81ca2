"""A worker: its tools, and its life."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar, overload

from ._generated import workers_pb2 as pb
from .backoff import Backoff
from .connection import Connection, within
from .errors import Code, DeclarationError, Refused, SettingsError
from .logs import to_outputs
from .settings import Settings, settings_from
from .tool import Tool, tool_of

MOST_TOOLS = 64
GRACE_S = 10.0
"""For calls that are under way when the worker is told to leave."""
_INSIST_S = 2.0
"""For what goes on after that, such as threads."""

EXIT_SETTINGS = 64
EXIT_REFUSED = 65
EXIT_UNAUTHENTICATED = 77

_FINAL = (Code.UNAUTHENTICATED, Code.INVALID_ARGUMENT)

log = logging.getLogger("proactive_worker")

T = TypeVar("T", bound=Callable[..., Any])


class Worker:
    """Tools that a ProactiveAI server may call, and the connection over which it does.

    The name is the kind of worker, the same for all of its processes: 1 to 64 of a-z, 0-9, '.', '_'
    and '-'. The version is any text of at most 64 characters. At most calls_at_once calls (1 to 256)
    run at a time, as tasks of one event loop.
    """

    def __init__(self, name: str, version: str = "", *, calls_at_once: int = 8) -> None:
        if not re.fullmatch(r"[a-z0-9._-]{1,64}", name):
            raise ValueError("a worker's name is 1 to 64 of a-z, 0-9, '.', '_' and '-'")
        if len(version) > 64:
            raise ValueError("a worker's version has at most 64 characters")
        if not 1 <= calls_at_once <= 256:
            raise ValueError("calls_at_once is 1 to 256")
        self.name = name
        self.version = version
        self.calls_at_once = calls_at_once
        self._tools: dict[str, Tool] = {}

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Those that were declared."""
        return tuple(self._tools.values())

    @overload
    def tool(self, of: T) -> T: ...

    @overload
    def tool(
        self, *, name: str | None = None, description: str | None = None, changes: bool = False
    ) -> Callable[[T], T]: ...

    def tool(
        self,
        of: T | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        changes: bool = False,
    ) -> T | Callable[[T], T]:
        """Declares a tool: an async function, an async generator function, or a class of which every
        call has an instance, with `__call__` or `execute`, and `initialize(context)` if it likes.

        Its name is the function's (or the class's, in snake_case), its description the docstring, its
        parameters what the type hints say. One that changes something (it sends a letter) says so: the
        same call is then made once for a screen. DeclarationError says what cannot be declared.
        """

        def declare(of: T) -> T:
            tool = tool_of(of, name, description, changes)
            if tool.name in self._tools:
                raise DeclarationError(f"tool {tool.name!r}: there is one of this name")
            if len(self._tools) >= MOST_TOOLS:
                raise DeclarationError(f"a worker has at most {MOST_TOOLS} tools")
            self._tools[tool.name] = tool
            return of

        return declare if of is None else declare(of)

    def hello(self) -> pb.WorkerHello:
        """What the server is told."""
        return pb.WorkerHello(
            name=self.name,
            version=self.version,
            tools=[tool.declaration() for tool in self._tools.values()],
            calls_at_once=self.calls_at_once,
        )

    async def serve(
        self,
        settings: Settings,
        stop: asyncio.Event,
        *,
        grace: float = GRACE_S,
        backoff: Backoff | None = None,
    ) -> None:
        """Serves until `stop` is set and the calls under way have ended, for at most `grace` seconds.

        Connects again whenever the stream ends; Refused says that this cannot help.
        """
        if not self._tools:
            raise SettingsError("the worker has no tools")
        backoff = backoff or Backoff()
        while not stop.is_set():
            ended = await Connection(settings, self.hello(), self._tools).serve(stop, grace)
            if stop.is_set():
                return
            # A worker that was welcome before is again, whatever ended its stream.
            if ended.code is not None and ended.code in _FINAL and ended.ready_for is None:
                raise Refused(ended.code, ended.message)
            backoff.lasted(ended.ready_for or 0.0)
            delay = ended.reconnect_delay
            if delay is None:
                delay = backoff.next()
            how = f"{ended.code.name}: {ended.message:.300}" if ended.code else "OK"
            delay_ms = round(delay * 1000)
            log.warning("the stream ended with %s; connecting again, delay_ms=%d", how, delay_ms)
            await within(delay, stop)

    def run(
        self,
        address: str | None = None,
        token: str | None = None,
        *,
        grace: float = GRACE_S,
        exit_with_parent: bool = False,
    ) -> None:
        """Serves until SIGTERM or SIGINT, as a whole program does; a second one leaves at once.
        Calls under way have `grace` seconds to end.

        The server and the token are those of PROACTIVE_ADDR (HOST:PORT) and PROACTIVE_SERVICE_TOKEN
        unless given. It ends the program with 64 if a setting makes no sense, 77 if the token is not
        good, 65 if the server will not have this worker. With exit_with_parent, or
        PROACTIVE_EXIT_WITH_PARENT=1, the end of standard input is as a SIGTERM.
        """
        to_outputs()
        # At the end of a loop, asyncio waits for tasks and threads, however long they go on.
        self._insisting = threading.Timer(_INSIST_S, os._exit, (0,))
        self._insisting.daemon = True
        exit_with_parent |= os.environ.get("PROACTIVE_EXIT_WITH_PARENT") == "1"
        try:
            settings = settings_from(address, token)
            asyncio.run(self._until_told(settings, grace, exit_with_parent))
        except SettingsError as error:
            _leave(EXIT_SETTINGS, str(error))
        except Refused as refused:
            unauthenticated = refused.code is Code.UNAUTHENTICATED
            _leave(EXIT_UNAUTHENTICATED if unauthenticated else EXIT_REFUSED, str(refused))
        finally:
            self._insisting.cancel()

    async def _until_told(self, settings: Settings, grace: float, exit_with_parent: bool) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def tell() -> None:
            # The loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)

        told: list[int] = []

        def on_signal(number: int, _frame: FrameType | None) -> None:
            # Not through the loop: a tool that blocks it cannot be left otherwise.
            if told:
                os._exit(128 + number)
            told.append(number)
            tell()

        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, on_signal) for number in signals}
        if exit_with_parent:
            threading.Thread(target=_at_end_of_input, args=(tell,), daemon=True).start()
        try:
            await self.serve(settings, stop, grace=grace)
            self._insisting.start()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _at_end_of_input(tell: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    tell()


def _leave(code: int, message: str) -> None:
    log.error("%s", message)
    raise SystemExit(code)
