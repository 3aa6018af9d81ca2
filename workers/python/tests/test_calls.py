"""Calls, between a worker and a server of the contract's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fake_server import NOW, TOKEN, call

from proactive_worker import Code, Context, Field, ToolError, Worker
from proactive_worker._generated import workers_pb2 as pb

pytestmark = pytest.mark.asyncio


async def test_a_worker_says_who_it_is_and_what_it_executes(worker, connect):
    @worker.tool
    async def greet(name: Annotated[str, "who"], loud: bool = False) -> str:
        """Greets somebody."""
        return name

    @worker.tool
    async def count() -> AsyncIterator[int]:
        """Counts."""
        yield 1

    @worker.tool(changes=True)
    async def send(to: str) -> None:
        """Sends a letter."""

    talk = await connect(worker)
    assert talk.metadata["authorization"] == f"Bearer {TOKEN}"
    assert (talk.hello.name, talk.hello.version, talk.hello.calls_at_once) == ("tests", "1.2.3", 4)
    first, second, third = talk.hello.tools
    assert [tool.changes for tool in talk.hello.tools] == [False, False, True]
    assert third.name == "send"
    assert (first.name, first.description, first.streaming) == ("greet", "Greets somebody.", False)
    assert first.parameters_json == (
        '{"type":"object","properties":{"name":{"type":"string","description":"who"},'
        '"loud":{"type":"boolean"}},"required":["name"]}'
    )
    assert (second.name, second.streaming) == ("count", True)


async def test_c01_a_tool_gets_its_arguments_and_its_context_and_returns_a_result(worker, connect):
    seen: list[Context] = []

    @worker.tool
    async def add(a: int, context: Context, b: float = 0.5) -> dict[str, Any]:
        """Adds."""
        seen.append(context)
        return {"sum": a + b, "bytes": b"\0\xff", "none": None, "list": [True, 1]}

    talk = await connect(worker)
    about = {"locale": "de-DE", "time_zone": "Europe/Berlin", "utc_offset_minutes": 60}
    asked = call("add", {"a": 3.0}, deadline=7.0, **about)
    asked.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert await talk.result(asked) == {"sum": 3.5, "bytes": b"\0\xff", "none": None, "list": [True, 1]}
    (context,) = seen
    assert (context.call_id, context.session_id) == (asked.call_id, asked.context.session_id)
    assert (context.locale, context.time_zone) == ("de-DE", "Europe/Berlin")
    assert context.utc_offset is not None
    assert context.utc_offset.total_seconds() == 3600
    assert context.now == NOW
    assert context.now.hour == 15, "in the user's zone"
    assert context.traceparent == asked.traceparent
    assert 5.0 < context.time_left <= 7.0
    assert await talk.result(call("add", {"a": 1}))
    assert seen[1] is not context, "every call has its own"


async def test_c01_a_class_is_made_anew_and_initialized_for_every_call(worker, connect):
    instances = []

    @worker.tool
    class RememberMe:
        """Remembers."""

        def __init__(self) -> None:
            instances.append(self)
            self.seen: list[str] = []

        async def initialize(self, context: Context) -> None:
            self.seen.append(f"initialized {context.call_id}")

        async def __call__(self, word: str) -> list[str]:
            self.seen.append(word)
            return self.seen

    @worker.tool(name="twice", description="Doubles.")
    class Twice:
        async def execute(self, n: int) -> int:
            return 2 * n

    talk = await connect(worker)
    for word in ("one", "two"):
        asked = call("remember_me", {"word": word})
        assert await talk.result(asked) == [f"initialized {asked.call_id}", word]
    assert len(instances) == 2
    assert await talk.result(call("twice", {"n": 4})) == 8


async def test_c01_a_tool_that_fails_says_how_and_the_worker_lives(worker, connect):
    @worker.tool
    async def fail(how: str) -> object:
        """Fails."""
        if how == "own":
            raise ToolError("there is no such room", code=Code.NOT_FOUND)
        if how == "long":
            raise ValueError("x" * 1000)
        if how == "exit":
            raise SystemExit(3)
        if how == "cancel":
            raise asyncio.CancelledError
        if how == "object":
            return {"a": [object()]}
        if how == "large":
            return "x" * (1024 * 1024)
        return "fine"

    talk = await connect(worker)
    failures = {}
    for how in ("own", "long", "exit", "cancel", "object", "large"):
        failures[how] = await talk.result(call("fail", {"how": how}))
        assert not failures[how].never_ran
    assert (failures["own"].code, failures["own"].message) == (5, "there is no such room")
    assert failures["long"].code == 2
    assert failures["long"].message.startswith("ValueError: xxx")
    assert len(failures["long"].message) == 300
    assert failures["exit"].message == "SystemExit: 3"
    assert (failures["cancel"].code, failures["cancel"].message) == (2, "CancelledError")
    assert failures["object"].code == 13
    assert failures["object"].message.startswith("the result.a[0]: object")
    assert failures["large"].code == 8
    assert await talk.result(call("fail", {"how": "not"})) == "fine"


async def test_c01_what_cannot_be_begun_never_ran(worker, connect):
    started = asyncio.Event()

    @worker.tool
    async def wait(seconds: Annotated[int, Field(minimum=0, maximum=9)] = 1) -> None:
        """Waits."""
        started.set()
        await asyncio.Event().wait()

    talk = await connect(worker)
    unknown = await talk.result(call("nothing"))
    assert (unknown.code, unknown.never_ran) == (12, True)
    odd = await talk.result(call("wait", {"seconds": "a secret"}))
    assert (odd.code, odd.never_ran) == (3, True)
    assert odd.message == "seconds must be a whole number, not a text"
    asked = call("wait")
    talk.tell(execute_streaming=pb.ExecuteStreamingTool(call=asked, credit=1))
    streaming = await talk.end_of(asked)
    assert (streaming.code, streaming.never_ran) == (12, True)
    assert not started.is_set()


async def test_calls_run_at_once_up_to_the_bound_and_beyond_it_never_ran(worker, connect):
    together, release = asyncio.Semaphore(0), asyncio.Event()

    @worker.tool
    async def wait() -> str:
        """Waits for all."""
        together.release()
        await release.wait()
        return "done"

    talk = await connect(worker)
    asked = [call("wait") for _ in range(4)]
    for one in asked:
        talk.tell(execute=pb.ExecuteTool(call=one))
    for _ in asked:
        await asyncio.wait_for(together.acquire(), 5)
    fifth = await talk.result(call("wait"))
    assert (fifth.code, fifth.never_ran) == (8, True)
    release.set()
    assert [await talk.end_of(one) for one in asked] == ["done"] * 4
    assert await talk.result(call("wait")) == "done"


async def test_c05_a_call_beyond_its_deadline_is_cancelled_and_says_so(worker, connect):
    cancelled = asyncio.Event()

    @worker.tool
    async def wait() -> None:
        """Waits."""
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    talk = await connect(worker)
    begun = time.monotonic()
    failure = await talk.result(call("wait", deadline=0.3))
    assert (failure.code, failure.never_ran) == (4, False)
    assert 0.2 < time.monotonic() - begun < 2.0
    await asyncio.wait_for(cancelled.wait(), 1)


async def test_progress_moves_the_deadline_and_is_clipped(worker, connect):
    @worker.tool
    async def crawl(context: Context) -> str:
        """Takes its time."""
        for step in range(5):
            await asyncio.sleep(0.15)
            await context.progress("y" * 300, step / 5)
        with pytest.raises(ValueError, match=r"0\.0 to 1\.0"):
            await context.progress("", 1.5)
        return "there"

    talk = await connect(worker)
    asked = call("crawl", deadline=0.4)
    assert await talk.result(asked) == "there"
    progress = await talk.hear("progress", asked.call_id)
    assert (len(progress.message), progress.fraction) == (200, 0.0)


async def test_a_cancelled_call_stops_at_once_and_is_silent(worker, connect):
    running, stopped = asyncio.Event(), asyncio.Event()

    @worker.tool
    async def wait() -> None:
        """Waits."""
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    @worker.tool
    async def echo(it: str) -> str:
        """Echoes."""
        return it

    talk = await connect(worker)
    asked = call("wait")
    talk.tell(execute=pb.ExecuteTool(call=asked))
    await asyncio.wait_for(running.wait(), 5)
    talk.tell(cancel=pb.CancelCall(call_id=asked.call_id, reason="gone"))
    await asyncio.wait_for(stopped.wait(), 1)
    # Of a call that was never given, too.
    talk.tell(cancel=pb.CancelCall(call_id="nothing"))
    assert await talk.result(call("echo", {"it": "x"})) == "x"
    assert talk.kinds() == []


async def test_a_tool_that_swallows_its_cancellation_takes_no_others_room_and_is_bounded(connect):
    worker = Worker(name="stubborn", calls_at_once=1)
    release = asyncio.Event()

    @worker.tool
    async def stay() -> str:
        """Does not go."""
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    talk = await connect(worker)
    assert (await talk.result(call("stay", deadline=0.1))).code == 4
    assert (await talk.result(call("stay", deadline=0.1))).code == 4
    third = await talk.result(call("stay", deadline=0.1))
    assert (third.code, third.never_ran) == (8, True)
    release.set()
    for _ in range(100):
        fourth = await talk.result(call("stay", deadline=5))
        if fourth == "late":
            break
    assert fourth == "late"
    assert talk.kinds() == [], "what came late is not said"


async def test_c02_chunks_come_in_order_with_a_mark_at_the_end(worker, connect):
    @worker.tool
    async def count(to: int) -> AsyncIterator[dict[str, int]]:
        """Counts."""
        for n in range(to):
            yield {"n": n}
        if to == 13:
            raise RuntimeError("13")

    talk = await connect(worker)
    asked = call("count", {"to": 3})
    talk.tell(execute_streaming=pb.ExecuteStreamingTool(call=asked, credit=3))
    for n in range(3):
        chunk = await talk.hear("chunk", asked.call_id)
        assert (chunk.sequence, chunk.value.object.fields["n"].integer) == (n, n)
    # Without another credit.
    result = await talk.hear("result", asked.call_id)
    assert not result.HasField("value")
    asked = call("count", {"to": 13})
    talk.tell(execute_streaming=pb.ExecuteStreamingTool(call=asked, credit=100))
    failure = await talk.end_of(asked)
    assert (failure.code, failure.message) == (2, "RuntimeError: 13")


async def test_c02_ten_thousand_chunks_go_by_the_consumers_pace(worker, connect):
    produced = 0

    @worker.tool
    async def flood() -> AsyncIterator[bytes]:
        """Floods."""
        nonlocal produced
        for _ in range(10_000):
            produced += 1
            yield b"x" * 100

    talk = await connect(worker)
    asked = call("flood", deadline=60)
    talk.tell(execute_streaming=pb.ExecuteStreamingTool(call=asked, credit=100))
    taken = 0
    while taken < 10_000:
        chunk = await talk.hear("chunk", asked.call_id)
        assert chunk.sequence == taken
        taken += 1
        allowed = 100 + (taken - 1) // 50 * 50
        assert produced <= allowed + 1, "one is made ahead"
        if taken % 50 == 0:
            talk.tell(credit=pb.CallCredit(call_id=asked.call_id, more=50))
    await talk.hear("result", asked.call_id)
    assert produced == 10_000


async def test_c02_a_producer_stops_when_its_consumer_has_gone(worker, connect):
    closed, closed_by = asyncio.Event(), list[str]()
    produced = 0

    @worker.tool
    async def flood() -> AsyncIterator[bytes]:
        """Floods."""
        nonlocal produced
        try:
            while True:
                produced += 1
                yield b"x" * 10_000
        finally:
            # Not by whoever collects garbage, whenever that is.
            task = asyncio.current_task()
            assert task is not None
            closed_by.append(task.get_name())
            closed.set()

    talk = await connect(worker)
    # Waiting for credit, and in the midst of it.
    for credit in (10, 1_000_000):
        closed.clear()
        asked = call("flood", deadline=60)
        talk.tell(execute_streaming=pb.ExecuteStreamingTool(call=asked, credit=credit))
        for _ in range(10):
            await talk.hear("chunk", asked.call_id)
        talk.tell(cancel=pb.CancelCall(call_id=asked.call_id))
        await asyncio.wait_for(closed.wait(), 1)
        assert closed_by.pop() == f"call {asked.call_id}"
        at = produced
        await asyncio.sleep(0.05)
        assert produced == at
    assert "result" not in talk.kinds()
    assert "failure" not in talk.kinds()


async def test_a_server_that_does_not_read_stops_the_producer(worker, connect):
    produced, closed = 0, asyncio.Event()

    @worker.tool
    async def flood() -> AsyncIterator[bytes]:
        """Floods."""
        nonlocal produced
        try:
            for _ in range(1_000):
                produced += 1
                yield b"x" * 100_000
        finally:
            closed.set()

    talk = await connect(worker)
    talk.reading.clear()
    asked = call("flood", deadline=60)
    talk.tell(execute_streaming=pb.ExecuteStreamingTool(call=asked, credit=1_000_000))
    before = -1
    while before != produced or not produced:
        before = produced
        await asyncio.sleep(0.2)
    assert produced < 500, "of 1,000; the rest waits"
    # What it says is heard all the same.
    for _ in range(3):
        talk.tell(heartbeat=pb.ServerHeartbeat())
    talk.tell(cancel=pb.CancelCall(call_id=asked.call_id))
    await asyncio.wait_for(closed.wait(), 1)
    talk.reading.set()
    cancelled, before = asked, produced
    produced = 0
    asked = call("flood", deadline=60)
    talk.tell(execute_streaming=pb.ExecuteStreamingTool(call=asked, credit=1_000_000))
    await talk.hear("result", asked.call_id)
    assert produced == 1_000
    assert talk.chunks(asked) == 1_000
    assert talk.chunks(cancelled) <= before - 10, "what waited to be sent was wanted by nobody"
