"""A tool's author tests without a server."""

import asyncio
from datetime import datetime, timedelta, timezone

import pytest

from proactive_worker import Context, NotFound, ValueProblem, VariableConflict, Worker
from proactive_worker.testing import Session, call

pytestmark = pytest.mark.asyncio


async def test_a_session_keeps_variables_and_progress():
    worker = Worker(name="notes")

    @worker.tool
    async def keep(text: str, context: Context) -> int:
        """Keeps a text."""
        await context.progress("half", 0.5)
        kept = await context.variables.set("note", {"text": text})
        with pytest.raises(VariableConflict) as raised:
            await context.variables.set("note", "", expected_version=kept.version + 1)
        assert raised.value.version == kept.version
        with pytest.raises(NotFound):
            await context.variables.get("other")
        assert (await context.variables.get("note")).value == {"text": text}
        assert [it.value for it in await context.variables.list("no")] == [None]
        return kept.version

    @worker.tool
    class Forget:
        """Forgets it."""

        async def initialize(self, context: Context) -> None:
            await context.variables.delete("note")

        async def execute(self, context: Context) -> list[str]:
            return [it.name for it in await context.variables.list()]

    session = Session()
    assert await session.call(worker, "keep", {"text": "a"}) == 1
    assert await session.call(worker, "keep", {"text": "b"}) == 2
    assert session.progress == [("half", 0.5)] * 2
    assert await session.call(worker, "forget") == []
    with pytest.raises(ValueProblem, match="text must be a text"):
        await session.call(worker, "keep", {"text": 1})


async def test_a_call_is_for_somebody_and_has_a_deadline():
    worker = Worker(name="clock")

    @worker.tool
    async def what(context: Context, wait: bool = False) -> str:
        """Says what time it is."""
        if wait:
            await asyncio.sleep(60)
        return context.now.isoformat()

    now = datetime(2026, 11, 18, 14, tzinfo=timezone.utc)
    assert await call(worker, "what", now=now, time_zone="Asia/Tokyo") == "2026-11-18T23:00:00+09:00"
    offset = timedelta(minutes=-90)
    for zone in ("", "Nowhere/None", "../etc/passwd"):
        told = await call(worker, "what", now=now, time_zone=zone, utc_offset=offset)
        assert told == "2026-11-18T12:30:00-01:30"
    with pytest.raises(asyncio.TimeoutError):
        await call(worker, "what", {"wait": True}, deadline=0.05)
