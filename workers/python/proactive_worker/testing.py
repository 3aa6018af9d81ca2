"""Tools under test, without a server: their arguments, results and variables go the way of real ones.

from proactive_worker.testing import call
assert await call(worker, "resolve_date", {"phrase": "tomorrow"}, locale="en") == {...}
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from ._generated import workers_pb2 as pb
from .context import Context
from .errors import Code
from .values import from_object, from_value, to_object, to_value
from .worker import Worker


class Session:
    """A session's variables, and whoever the calls are for. Times to live are kept, and never over."""

    def __init__(
        self,
        *,
        locale: str = "",
        time_zone: str = "",
        utc_offset: timedelta | None = None,
        now: datetime | None = None,
        deadline: float = 30.0,
    ) -> None:
        self.about = pb.CallContext(session_id=str(uuid.uuid4()), locale=locale, time_zone=time_zone)
        self.about.now.FromDatetime(now or datetime.now(timezone.utc))
        if utc_offset is not None:
            self.about.utc_offset_minutes = int(utc_offset.total_seconds() // 60)
        self.deadline = deadline
        self.progress: list[tuple[str, float | None]] = []
        """What the tools said of how far they are."""
        self._variables: dict[str, pb.Variable] = {}

    async def call(self, worker: Worker, tool: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """What the tool returns; of a streaming tool, the list of what it yields.

        Raises what the tool raises, ValueProblem for arguments or results that cannot be sent, and
        TimeoutError after the deadline.
        """
        declared = {one.name: one for one in worker.tools}[tool]
        # As they arrive, not as they were given.
        given = declared.parameters.parse(from_object(to_object(arguments or {}, where="arguments")))
        asked = pb.ToolCall(call_id=str(uuid.uuid4()), tool=tool, context=self.about)
        context = Context(asked, _Link(self))

        async def run() -> Any:
            begun = await declared.begin(context, given)
            if not declared.streaming:
                return from_value(to_value(await begun, where="the result"))
            return [from_value(to_value(chunk, where="a chunk")) async for chunk in begun]

        return await asyncio.wait_for(run(), self.deadline)

    def answer(self, request: pb.VariableRequest) -> pb.VariableResponse:
        """As the server does."""
        ask = request.WhichOneof("ask")
        if ask == "list":
            names = sorted(name for name in self._variables if name.startswith(request.list.prefix))
            return pb.VariableResponse(variables=[_without_value(self._variables[name]) for name in names])
        asked = getattr(request, ask or "get")
        there = self._variables.get(asked.name)
        if ask == "get":
            if there is None:
                return pb.VariableResponse(code=Code.NOT_FOUND, message="no such variable")
            return pb.VariableResponse(variables=[there])
        if asked.HasField("expected_version") and asked.expected_version != (there.version if there else 0):
            now = [_without_value(there)] if there else []
            message = "it has another version"
            return pb.VariableResponse(code=Code.FAILED_PRECONDITION, message=message, variables=now)
        if ask == "delete":
            self._variables.pop(asked.name, None)
            return pb.VariableResponse()
        version = there.version + 1 if there else 1
        made = pb.Variable(name=asked.name, value=asked.value, version=version)
        made.expires_at.FromDatetime(
            datetime.now(timezone.utc) + timedelta(seconds=asked.time_to_live_s or 3600)
        )
        self._variables[asked.name] = made
        return pb.VariableResponse(variables=[_without_value(made)])


async def call(worker: Worker, tool: str, arguments: Mapping[str, Any] | None = None, **session: Any) -> Any:
    """Session(**session).call(worker, tool, arguments)."""
    return await Session(**session).call(worker, tool, arguments)


class _Link:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + session.deadline

    def time_left(self) -> float:
        return self._deadline - self._loop.time()

    async def progress(self, progress: pb.CallProgress) -> None:
        fraction = progress.fraction if progress.HasField("fraction") else None
        self._session.progress.append((progress.message, fraction))

    async def ask(self, request: pb.VariableRequest) -> pb.VariableResponse:
        return self._session.answer(request)


def _without_value(it: pb.Variable) -> pb.Variable:
    return pb.Variable(name=it.name, version=it.version, expires_at=it.expires_at)
