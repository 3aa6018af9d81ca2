"""The calls of one stream: each a task, with one deadline and one end."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from ._generated import workers_pb2 as pb
from .context import Context, clipped
from .errors import Code, ToolError, ValueProblem
from .outbox import MOST_EVENT, Outbox
from .tool import Tool
from .values import from_object, to_value

MOST_MESSAGE = 300
"""Characters of a failure's message that are read."""
_STOPPING_S = 5.0
"""After which a cancelled call that goes on is worth a line in the log."""

# Names in a result may be what users say; these hardly are.
_OF_PROGRAMS = re.compile(r"the result(\.[A-Za-z_][A-Za-z0-9_]{0,31}|\[[0-9]+\])*")

log = logging.getLogger("proactive_worker")


class Calls:
    """All calls of one stream. Nothing is said of a call that has ended."""

    def __init__(self, tools: Mapping[str, Tool], at_once: int, outbox: Outbox, debug: bool = False) -> None:
        self.debug = debug
        """Whether what a tool raises is logged with its traceback."""
        self._tools = tools
        self._at_once = at_once
        self._outbox = outbox
        self._open: dict[str, Call] = {}
        # Ended for the server, and still at their cleaning up.
        self._stopping: set[Call] = set()
        self.none_open = asyncio.Event()
        self.none_open.set()
        """Set while no call is under way."""
        self.closed = False
        """Whether new calls are refused."""

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, call: pb.ToolCall, credit: int | None) -> None:
        """Starts it, or refuses it. With credit, it is to answer in chunks."""
        received = time.monotonic()
        if call.call_id in self._open:
            log.warning("call %s was given twice; the second is ignored", call.call_id)
            return
        try:
            tool = self._taken(call.tool, in_chunks=credit is not None)
            arguments = tool.parameters.parse(from_object(call.arguments))
        except ToolError as refusal:
            self._refuse(call, refusal.code, refusal.message)
            return
        except ValueProblem as problem:
            self._refuse(call, Code.INVALID_ARGUMENT, str(problem))
            return
        begun = Call(call, tool, arguments, credit or 0, received, self, self._outbox)
        self._open[call.call_id] = begun
        self.none_open.clear()
        begun.start()

    def cancel(self, call_id: str) -> None:
        """Nobody waits for it any more."""
        if call := self._open.get(call_id):
            call.stop("cancelled by the server")

    def credit(self, call_id: str, more: int) -> None:
        """It may send more chunks."""
        if call := self._open.get(call_id):
            call.add_credit(more)

    def answer(self, response: pb.VariableResponse) -> None:
        """A call asked for this."""
        call_id, _, _ = response.request_id.rpartition("/")
        if call := self._open.get(call_id):
            call.answered(response)

    def abandon(self, failure: Code | None, why: str) -> None:
        """Ends all of them; with a code, the server is told."""
        for call in list(self._open.values()):
            if failure is None:
                call.stop(why)
            else:
                call.fail(failure, why)

    async def stopped(self, seconds: float) -> None:
        """Waits a while for those that clean up."""
        if tasks := [call.task for call in self._stopping if call.task]:
            await asyncio.wait(tasks, timeout=seconds)

    def ended(self, call: Call) -> None:
        """Of a call: nothing more will be said of it."""
        del self._open[call.call_id]
        if call.task and not call.task.done():
            self._stopping.add(call)
            call.task.add_done_callback(lambda _: self._stopping.discard(call))
        if not self._open:
            self.none_open.set()

    def _taken(self, name: str, in_chunks: bool) -> Tool:
        if self.closed:
            raise ToolError("this worker is leaving", Code.UNAVAILABLE)
        tool = self._tools.get(name)
        if tool is None:
            raise ToolError("this worker has no such tool", Code.UNIMPLEMENTED)
        if tool.streaming is not in_chunks:
            how = "in chunks" if tool.streaming else "with one result"
            raise ToolError(f"this worker's tool answers {how}", Code.UNIMPLEMENTED)
        # Those that do not stop take room, too, or a tool that never does would fill the process.
        running = len(self._open) + len(self._stopping)
        if len(self._open) >= self._at_once or running >= 2 * self._at_once:
            raise ToolError("too many calls at once", Code.RESOURCE_EXHAUSTED)
        return tool

    def _refuse(self, call: pb.ToolCall, code: Code, message: str) -> None:
        log.warning("call %s of %.64s was not begun: %s", call.call_id, call.tool, code.name)
        self._outbox.say(_failure(call.call_id, code, message, never_ran=True))


class Call:
    """One call."""

    def __init__(
        self,
        call: pb.ToolCall,
        tool: Tool,
        arguments: dict[str, Any],
        credit: int,
        received: float,
        calls: Calls,
        outbox: Outbox,
    ) -> None:
        self.call_id = call.call_id
        self.task: asyncio.Task[None] | None = None
        self._tool = tool
        self._arguments = arguments
        self._calls = calls
        self._outbox = outbox
        self._received = received
        self._open = True
        # What waits in the outbox is sent although the call has ended, but not if nobody wants it.
        self._wanted = True
        self._time = max(call.deadline_ms, 0) / 1000
        self._sequence = 0
        self._credit = credit
        self._has_credit = asyncio.Event()
        self._requests = itertools.count(1)
        self._asked: dict[str, asyncio.Future[pb.VariableResponse]] = {}
        self._context = Context(call, self)

    def start(self) -> None:
        """Begins it, in a task and a context of its own."""
        self._loop = asyncio.get_running_loop()
        self._move_deadline()
        self.task = self._loop.create_task(self._run(), name=f"call {self.call_id}")

    # What the server says of it.

    def stop(self, why: str) -> None:
        """Ends it without a word."""
        self._wanted = False
        self._end(why)
        self._cancel_task()

    def fail(self, code: Code, message: str) -> None:
        """Ends it from outside of the tool."""
        self._say_failure(code, message)
        self._cancel_task()

    def add_credit(self, more: int) -> None:
        """It may send more chunks."""
        self._credit += max(more, 0)
        if self._credit:
            self._has_credit.set()

    def answered(self, response: pb.VariableResponse) -> None:
        """One of its questions is."""
        waiting = self._asked.get(response.request_id)
        if waiting and not waiting.done():
            waiting.set_result(response)

    # What its tool may do: a Link.

    def time_left(self) -> float:
        """Seconds until nobody waits any more."""
        return self._deadline - self._loop.time()

    async def progress(self, progress: pb.CallProgress) -> None:
        """Tells the server, and moves the deadline as the server does."""
        await self._outbox.room()
        if self._open:
            self._outbox.say(pb.WorkerEvent(progress=progress), self._is_wanted)
            self._timer.cancel()
            self._move_deadline()

    async def ask(self, request: pb.VariableRequest) -> pb.VariableResponse:
        """Asks the server for variables."""
        event = pb.WorkerEvent(variable=request)
        request_id = f"{self.call_id}/{next(self._requests)}"
        event.variable.request_id = request_id
        if event.ByteSize() > MOST_EVENT:
            message = "the variable is larger than 64 KiB"
            return pb.VariableResponse(code=Code.RESOURCE_EXHAUSTED, message=message)
        await self._outbox.room()
        if not self._open:
            return _call_has_ended()
        answer = self._asked[request_id] = self._loop.create_future()
        try:
            self._outbox.say(event, self._is_wanted)
            response: pb.VariableResponse = await answer
            return response
        finally:
            del self._asked[request_id]

    # Its own way.

    async def _run(self) -> None:
        try:
            run = await self._tool.begin(self._context, self._arguments)
            if self._tool.streaming:
                await self._stream(run)
                value = None
            else:
                value = _encoded(await run)
            result = pb.CallResult(call_id=self.call_id, value=value, took_us=self._took_us())
            event = _bounded(pb.WorkerEvent(result=result))
            await self._outbox.room()
            if self._open:
                self._end("done")
                self._outbox.say(event, self._is_wanted)
        except _Unfit as unfit:
            self._say_failure(unfit.code, unfit.message, why=unfit.shown)
        except ToolError as error:
            self._say_failure(error.code, error.message, raised=error)
        except KeyboardInterrupt:
            raise
        # Whatever else a tool raises, the worker lives: SystemExit, and a tool that cancels
        # itself, too. A call that was ended from outside is no longer open.
        except BaseException as error:
            text = f"{type(error).__name__}: {_text_of(error)}".removesuffix(": ")
            self._say_failure(Code.UNKNOWN, text, raised=error)

    async def _stream(self, chunks: AsyncGenerator[Any, None]) -> None:
        try:
            async for chunk in chunks:
                value = _encoded(chunk)
                # The tool waits where it yielded.
                while not self._credit and self._open:
                    self._has_credit.clear()
                    await self._has_credit.wait()
                await self._outbox.room()
                # It swallowed its cancellation.
                if not self._open:
                    return
                said = pb.CallChunk(call_id=self.call_id, sequence=self._sequence, value=value)
                self._outbox.say(_bounded(pb.WorkerEvent(chunk=said)), self._is_wanted)
                self._sequence += 1
                self._credit -= 1
        finally:
            await chunks.aclose()

    def _say_failure(
        self, code: Code, message: str, *, raised: BaseException | None = None, why: str | None = None
    ) -> None:
        if not self._open:
            return
        why = why or (_where(raised) if raised else None)
        self._end(f"{code.name} ({why})" if why else code.name, logging.WARNING, raised)
        self._outbox.say(_failure(self.call_id, code, message), self._is_wanted)

    def _end(self, how: str, level: int = logging.INFO, raised: BaseException | None = None) -> None:
        if self._open:
            self._open = False
            self._timer.cancel()
            for waiting in self._asked.values():
                if not waiting.done():
                    waiting.set_result(_call_has_ended())
            took = self._took_us() // 1000
            trace = raised if self._calls.debug else None
            said = (self.call_id, self._tool.name, how, took)
            log.log(level, "call %s of %s: %s, took_ms=%d", *said, exc_info=trace)
            self._calls.ended(self)

    def _is_wanted(self) -> bool:
        return self._wanted

    def _took_us(self) -> int:
        return round((time.monotonic() - self._received) * 1e6)

    def _move_deadline(self) -> None:
        self._deadline = self._loop.time() + self._time
        # A little earlier than the server's, which hears of it then instead of cancelling.
        early = min(0.25, self._time / 10)
        self._timer = self._loop.call_at(self._deadline - early, self._expire)

    def _expire(self) -> None:
        self.fail(Code.DEADLINE_EXCEEDED, "the tool did not end in time")

    def _cancel_task(self) -> None:
        if self.task and not self.task.done():
            self.task.cancel()
            self._loop.call_later(_STOPPING_S, self._warn)

    def _warn(self) -> None:
        if self.task and not self.task.done():
            log.warning("call %s of %s was cancelled, and goes on", self.call_id, self._tool.name)


def _failure(call_id: str, code: Code, message: str, never_ran: bool = False) -> pb.WorkerEvent:
    message = clipped(message, MOST_MESSAGE)
    failure = pb.CallFailure(call_id=call_id, code=code, message=message, never_ran=never_ran)
    return pb.WorkerEvent(failure=failure)


def _call_has_ended() -> pb.VariableResponse:
    return pb.VariableResponse(code=Code.PERMISSION_DENIED, message="the call has ended")


class _Unfit(ToolError):
    """A result that cannot be sent."""

    def __init__(self, message: str, code: Code, shown: str) -> None:
        super().__init__(message, code)
        self.shown = shown
        """For the log: nothing of what the result says."""


def _encoded(it: object) -> pb.Value:
    try:
        return to_value(it, where="the result")
    except ValueProblem as problem:
        raise _Unfit(str(problem), Code.INTERNAL, _shown(str(problem))) from None


def _bounded(event: pb.WorkerEvent) -> pb.WorkerEvent:
    if (size := event.ByteSize()) > MOST_EVENT:
        message = f"the result has {size} bytes, more than 1 MiB"
        raise _Unfit(message, Code.RESOURCE_EXHAUSTED, message)
    return event


def _shown(problem: str) -> str:
    """What is wrong with a result, and where, if names of it are such as a program gives."""
    place, _, what = problem.rpartition(": ")
    return problem if _OF_PROGRAMS.fullmatch(place) else f"within the result: {what}"


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def _where(error: BaseException) -> str:
    """The kind of an exception and where it was raised, but never its text, for that may quote."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = ""
    if trace:
        place = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
    return f"{type(error).__name__}{place}"
