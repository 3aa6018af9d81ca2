"""What a tool is told of its call, and what it may ask meanwhile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from ._generated import workers_pb2 as pb
from .errors import (
    Code,
    InvalidVariable,
    NoRoom,
    NotFound,
    NotPermitted,
    ValueProblem,
    VariableConflict,
    VariableError,
)
from .values import from_value, to_value

MOST_PROGRESS = 200
"""Characters of a progress message; what is beyond is cut off."""


class Link(Protocol):
    """The call that a context belongs to."""

    def time_left(self) -> float:
        """Seconds until nobody waits any more."""

    async def progress(self, progress: pb.CallProgress) -> None:
        """Tells the server."""

    async def ask(self, request: pb.VariableRequest) -> pb.VariableResponse:
        """Asks the server."""


@dataclass(frozen=True)
class Variable:
    """A variable of a session."""

    name: str
    value: Any
    """None in the answer to list(), which has no values."""
    version: int
    """1 when it was made, and one more each time it is replaced."""
    expires_at: datetime | None
    """When it goes; UTC."""


class Variables:
    """The variables of the session that a call is for.

    At most 64 in a session, 64 KiB each; names have 1 to 128 characters. Each goes when its time to
    live is over, or with its server. Every method may raise VariableError.
    """

    def __init__(self, call_id: str, link: Link) -> None:
        self._call_id = call_id
        self._link = link

    async def get(self, name: str) -> Variable:
        """One variable, or NotFound."""
        request = self._request()
        request.get.name = name
        return _one(await self._ask(request))

    async def set(
        self,
        name: str,
        value: object,
        *,
        expected_version: int | None = None,
        time_to_live: timedelta | float | None = None,
    ) -> Variable:
        """Makes or replaces a variable.

        expected_version is the version that is replaced, or 0 if there must be none; another one
        raises VariableConflict. time_to_live is 1 s to 86,400 s (or a timedelta), else 3,600 s.
        """
        request = self._request()
        request.set.name = name
        try:
            request.set.value.CopyFrom(to_value(value))
        except ValueProblem as problem:
            raise InvalidVariable(str(problem), Code.INVALID_ARGUMENT) from None
        if expected_version is not None:
            request.set.expected_version = expected_version
        if time_to_live is not None:
            request.set.time_to_live_s = _seconds(time_to_live)
        done = _one(await self._ask(request))
        return Variable(done.name, value, done.version, done.expires_at)

    async def list(self, prefix: str = "") -> list[Variable]:
        """All variables whose names begin so, by name, without their values."""
        request = self._request()
        request.list.prefix = prefix
        return [_variable(it) for it in (await self._ask(request)).variables]

    async def delete(self, name: str, *, expected_version: int | None = None) -> None:
        """Removes a variable; one that is not there is no error."""
        request = self._request()
        request.delete.name = name
        if expected_version is not None:
            request.delete.expected_version = expected_version
        await self._ask(request)

    def _request(self) -> pb.VariableRequest:
        return pb.VariableRequest(call_id=self._call_id)

    async def _ask(self, request: pb.VariableRequest) -> pb.VariableResponse:
        response = await self._link.ask(request)
        if response.code == 0:
            return response
        message = response.message or "the server did not say why"
        code = _code(response.code)
        if code is Code.FAILED_PRECONDITION:
            version = response.variables[0].version if response.variables else None
            raise VariableConflict(message, code, version)
        raise _ERRORS.get(code, VariableError)(message, code)


_ERRORS: dict[Code, type[VariableError]] = {
    Code.NOT_FOUND: NotFound,
    Code.INVALID_ARGUMENT: InvalidVariable,
    Code.RESOURCE_EXHAUSTED: NoRoom,
    Code.PERMISSION_DENIED: NotPermitted,
}


class Context:
    """One call: who it is for, until when, and how it goes on. Every call has one of its own."""

    def __init__(self, call: pb.ToolCall, link: Link) -> None:
        about = call.context
        self._link = link
        self.call_id: str = call.call_id
        """A UUID."""
        self.tool: str = call.tool
        """What the tool was called by."""
        self.session_id: str = about.session_id
        """The session whose variables the tool sees: a UUID."""
        self.locale: str = about.locale
        """BCP 47, such as "de-DE"; empty if the client did not say."""
        self.time_zone: str = about.time_zone
        """IANA, such as "Europe/Berlin"; empty if the client did not say."""
        self.utc_offset: timedelta | None = None
        """How far the client's clock is ahead of UTC; None if it did not say."""
        if about.HasField("utc_offset_minutes"):
            self.utc_offset = timedelta(minutes=about.utc_offset_minutes)
        self.traceparent: str = call.traceparent
        """W3C Trace Context, for whatever the tool asks of others; empty if there is none."""
        self.tracestate: str = call.tracestate
        """Goes with traceparent."""
        self.zone: tzinfo = _zone(self.time_zone, self.utc_offset)
        """The user's: by time_zone, else utc_offset, else UTC."""
        utc = timezone.utc
        now = about.now.ToDatetime(utc) if about.HasField("now") else datetime.now(utc)
        self.now: datetime = now.astimezone(self.zone)
        """The moment that "today" means, in the user's zone."""
        self.variables: Variables = Variables(call.call_id, link)
        """The session's variables."""

    @property
    def time_left(self) -> float:
        """Seconds until nobody waits for the result any more; then the call is cancelled."""
        return max(0.0, self._link.time_left())

    @property
    def deadline(self) -> datetime:
        """The same as a moment; UTC."""
        return datetime.now(timezone.utc) + timedelta(seconds=self.time_left)

    async def progress(self, message: str = "", fraction: float | None = None) -> None:
        """Tells people how far it is, and the server that the call goes on: its deadline moves.

        The message has at most 200 characters; the fraction is 0.0 to 1.0.
        """
        progress = pb.CallProgress(call_id=self.call_id, message=clipped(message, MOST_PROGRESS))
        if fraction is not None:
            if not 0.0 <= fraction <= 1.0:
                raise ValueError("a fraction is 0.0 to 1.0")
            progress.fraction = fraction
        await self._link.progress(progress)


def clipped(text: str, most: int) -> str:
    """The text, or its beginning with an ellipsis; never what is no text."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _code(code: int) -> Code:
    try:
        return Code(code)
    except ValueError:
        return Code.UNKNOWN


def _zone(name: str, offset: timedelta | None) -> tzinfo:
    if name:
        try:
            return ZoneInfo(name)
        # ZoneInfo has more ways to fail than it tells: names that are folders, or lead elsewhere.
        except (OSError, ValueError, KeyError):
            pass
    if offset is not None and abs(offset) < timedelta(days=1):
        return timezone(offset)
    return timezone.utc


def _seconds(time_to_live: timedelta | float) -> int:
    if isinstance(time_to_live, timedelta):
        time_to_live = time_to_live.total_seconds()
    if not 1 <= time_to_live <= 86_400:
        raise InvalidVariable("a time to live is 1 s to 86,400 s", Code.INVALID_ARGUMENT)
    return math.ceil(time_to_live)


def _one(response: pb.VariableResponse) -> Variable:
    if not response.variables:
        raise VariableError("the server answered without the variable", Code.INTERNAL)
    return _variable(response.variables[0])


def _variable(it: pb.Variable) -> Variable:
    expires_at = it.expires_at.ToDatetime(timezone.utc) if it.HasField("expires_at") else None
    return Variable(it.name, from_value(it.value), it.version, expires_at)
