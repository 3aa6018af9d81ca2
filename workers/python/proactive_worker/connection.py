"""One stream to the server, from its hello to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from ._generated import workers_pb2 as pb
from ._generated import workers_pb2_grpc
from .calls import Calls
from .errors import Code
from .outbox import Outbox
from .settings import Settings
from .tool import Tool

_READY_S = 20.0
"""Connecting, the hello and its answer."""
_HEARTBEAT_MS = range(1_000, 300_001)
_MISSED = 3
"""Heartbeats; then the server is taken for gone."""
_CLOSING_S = 2.0
"""Until the server has ended a stream whose other side is closed."""
_STOPPING_S = 1.0
"""For calls that were cancelled, to clean up."""

log = logging.getLogger("proactive_worker")


@dataclass(frozen=True)
class Ended:
    """How a stream did."""

    code: Code | None
    """None: OK."""
    message: str
    ready_for: float | None
    """Seconds; None if it never was."""
    reconnect_delay: float | None
    """Seconds, where the server said so."""


class Connection:
    """One stream."""

    def __init__(self, settings: Settings, hello: pb.WorkerHello, tools: Mapping[str, Tool]) -> None:
        self._settings = settings
        self._outbox = Outbox()
        self._calls = Calls(tools, hello.calls_at_once, self._outbox, settings.debug)
        self._loop = asyncio.get_running_loop()
        self._ready_at: float | None = None
        self._interval = _READY_S
        self._said_at = self._heard_at = self._loop.time()
        self._reconnect_delay: float | None = None
        self._gave_up: str | None = None
        self._ready = asyncio.Event()
        self._going = asyncio.Event()
        self._outbox.say(pb.WorkerEvent(hello=hello))

    async def serve(self, stop: asyncio.Event, grace: float) -> Ended:
        """Returns when the stream has ended. When told to stop, it leaves as the contract says."""
        async with self._settings.channel() as channel:
            stub: Any = workers_pb2_grpc.ToolWorkersStub(channel)  # type: ignore[no-untyped-call]
            metadata = (("authorization", f"Bearer {self._settings.token}"),)
            self._stream = stub.Serve(metadata=metadata)
            own: list[Coroutine[Any, Any, None]] = [
                self._write(),
                self._watch(),
                self._leave(stop, grace),
                self._go(),
            ]
            tasks = [asyncio.ensure_future(one) for one in own]
            try:
                code, message = await self._read()
            finally:
                for task in tasks:
                    task.cancel()
                self._outbox.close()
                self._calls.abandon(None, "its stream has ended")
                self._stream.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._calls.stopped(_STOPPING_S)
        ready_for = None if self._ready_at is None else self._loop.time() - self._ready_at
        return Ended(code, message, ready_for, self._reconnect_delay)

    async def _read(self) -> tuple[Code | None, str]:
        try:
            while True:
                # What is refused is answered: not faster than it can be said.
                await self._outbox.calm()
                command = await self._stream.read()
                if command is grpc.aio.EOF:
                    status, details = await self._stream.code(), await self._stream.details()
                    return _code(status), details or ""
                self._heard_at = self._loop.time()
                self._obey(command)
        except grpc.aio.AioRpcError as error:
            return _code(error.code()), error.details() or ""
        except asyncio.CancelledError:
            # grpc says the same when it was us who ended the stream.
            if self._gave_up is None:
                raise
            return Code.UNAVAILABLE, self._gave_up

    def _obey(self, command: pb.WorkerCommand) -> None:
        kind = command.WhichOneof("command")
        if kind == "ready":
            self._become_ready(command.ready)
        elif kind == "execute":
            self._calls.begin(command.execute.call, None)
        elif kind == "execute_streaming":
            streaming = command.execute_streaming
            self._calls.begin(streaming.call, streaming.credit)
        elif kind == "cancel":
            self._calls.cancel(command.cancel.call_id)
        elif kind == "credit":
            self._calls.credit(command.credit.call_id, command.credit.more)
        elif kind == "variable":
            self._calls.answer(command.variable)
        elif kind == "go_away":
            away = command.go_away
            self._reconnect_delay = max(away.reconnect_delay_ms, 0) / 1000
            log.info("the server is leaving: %.200s, time_left_ms=%d", away.reason, away.time_left_ms)
            self._going.set()
        # A heartbeat was heard; what is not known is ignored.

    def _become_ready(self, ready: pb.WorkerReady) -> None:
        if ready.heartbeat_interval_ms in _HEARTBEAT_MS:
            self._interval = ready.heartbeat_interval_ms / 1000
        self._ready_at = self._loop.time()
        self._ready.set()
        log.info("connected as worker %.64s", ready.worker_id)
        for refused in ready.refused:
            log.error("the server refuses the tool %.64s: %.300s", refused.name, refused.reason)

    async def _write(self) -> None:
        try:
            while (event := await self._outbox.next()) is not None:
                self._said_at = self._loop.time()
                await self._stream.write(event)
            await self._stream.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream has ended: whoever reads it is told how.
            self._outbox.close()

    async def _watch(self) -> None:
        """Says something as often as it must, and hears whether the server does."""
        if not await within(_READY_S, self._ready):
            self._give_up(f"no answer to the hello within {_READY_S:.0f} s")
            return
        while True:
            now = self._loop.time()
            silent_at = self._heard_at + _MISSED * self._interval
            if now >= silent_at:
                self._give_up("the server was silent for too long")
                return
            if now >= self._said_at + self._interval:
                self._said_at = now
                # What waits to be said is a sign of life as well.
                if not self._outbox:
                    self._outbox.say(pb.WorkerEvent(heartbeat=pb.WorkerHeartbeat()))
            await asyncio.sleep(min(self._said_at + self._interval, silent_at) - now)

    async def _leave(self, stop: asyncio.Event, grace: float) -> None:
        await stop.wait()
        if self._ready_at is None:
            self._give_up("this worker is leaving")
            return
        self._calls.closed = True
        self._outbox.say(pb.WorkerEvent(leaving=pb.WorkerLeaving()))
        log.info("leaving, calls=%d", len(self._calls))
        if not await within(grace, self._calls.none_open):
            self._calls.abandon(Code.UNAVAILABLE, "the worker has left")
        await self._close()

    async def _go(self) -> None:
        await self._going.wait()
        await self._calls.none_open.wait()
        await self._close()

    async def _close(self) -> None:
        self._outbox.close()
        await asyncio.sleep(_CLOSING_S)
        self._give_up("the server did not end the stream")

    def _give_up(self, why: str) -> None:
        self._gave_up = why
        self._stream.cancel()


async def within(seconds: float, event: asyncio.Event) -> bool:
    """Whether it comes within that time."""
    # wait_for, before Python 3.12, forgets that it was cancelled if the event comes as well.
    waiting = asyncio.ensure_future(event.wait())
    try:
        done, _ = await asyncio.wait({waiting}, timeout=seconds)
        return bool(done)
    finally:
        waiting.cancel()


def _code(status: grpc.StatusCode) -> Code | None:
    number = status.value[0]
    return Code(number) if number else None
