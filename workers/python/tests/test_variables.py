"""A tool and its session's variables."""

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from fake_server import call

from proactive_worker import (
    Context,
    InvalidVariable,
    NoRoom,
    NotFound,
    NotPermitted,
    VariableConflict,
    VariableError,
)
from proactive_worker._generated import workers_pb2 as pb
from proactive_worker.values import to_value

pytestmark = pytest.mark.asyncio


class Ask:
    """A call whose tool does as the test says, with a server that answers by hand."""

    def __init__(self, worker: Any, connect: Any) -> None:
        self.worker, self.connect = worker, connect
        self.todo: Any = None

    async def begin(self, todo: Any) -> pb.VariableRequest:
        if not self.worker.tools:

            @self.worker.tool
            async def act(context: Context) -> Any:
                """Acts."""
                return await self.todo(context)

            self.talk = await self.connect(self.worker)
        self.todo = todo
        self.asked = call("act")
        self.talk.tell(execute=pb.ExecuteTool(call=self.asked))
        request = await self.talk.hear("variable")
        assert request.call_id == self.asked.call_id
        assert 0 < len(request.request_id.encode()) <= 64
        return request

    async def answer(self, request: pb.VariableRequest, **answer: Any) -> Any:
        self.talk.tell(variable=pb.VariableResponse(request_id=request.request_id, **answer))
        return await self.talk.end_of(self.asked)


@pytest.fixture
def ask(worker, connect):
    return Ask(worker, connect)


def variable(name: str = "draft", version: int = 3, **more: Any) -> pb.Variable:
    it = pb.Variable(name=name, version=version, **more)
    it.expires_at.FromDatetime(datetime(2026, 11, 18, 15, tzinfo=timezone.utc))
    return it


async def test_c06_variables_are_got_set_listed_and_deleted(ask):
    async def get(context):
        got = await context.variables.get("draft")
        assert got.expires_at == datetime(2026, 11, 18, 15, tzinfo=timezone.utc)
        return [got.name, got.value, got.version]

    request = await ask.begin(get)
    assert request.get.name == "draft"
    found = variable(value=to_value({"a": b"x"}))
    assert await ask.answer(request, variables=[found]) == ["draft", {"a": b"x"}, 3]

    async def put(context):
        kept = await context.variables.set(
            "draft", [1], expected_version=2, time_to_live=timedelta(minutes=1.51)
        )
        return [kept.value, kept.version]

    request = await ask.begin(put)
    assert request.set.value == to_value([1])
    assert (request.set.expected_version, request.set.time_to_live_s) == (2, 91)
    assert await ask.answer(request, variables=[variable()]) == [[1], 3]

    async def plain(context):
        await context.variables.set("draft", None)

    request = await ask.begin(plain)
    assert not request.set.HasField("expected_version")
    assert request.set.time_to_live_s == 0
    assert await ask.answer(request, variables=[variable(version=1)]) is None

    async def names(context):
        return [it.name for it in await context.variables.list("dr")]

    request = await ask.begin(names)
    assert request.list.prefix == "dr"
    assert await ask.answer(request, variables=[variable("dr1"), variable("dr2")]) == ["dr1", "dr2"]

    async def delete(context):
        await context.variables.delete("draft", expected_version=3)
        return "gone"

    request = await ask.begin(delete)
    assert (request.delete.name, request.delete.expected_version) == ("draft", 3)
    assert await ask.answer(request) == "gone"


@pytest.mark.parametrize(
    ("code", "kind"),
    [(5, NotFound), (9, VariableConflict), (3, InvalidVariable), (8, NoRoom), (7, NotPermitted)],
)
async def test_c06_every_refusal_is_an_exception_of_its_own(ask, code, kind):
    async def get(context):
        with pytest.raises(VariableError) as raised:
            await context.variables.get("draft")
        assert type(raised.value) is kind
        assert raised.value.message == "because"
        return getattr(raised.value, "version", None)

    request = await ask.begin(get)
    found = await ask.answer(request, code=code, message="because", variables=[variable()])
    assert found == (3 if kind is VariableConflict else None)


async def test_a_refusal_that_is_not_caught_is_the_calls_failure(ask):
    async def get(context):
        await context.variables.get("draft")

    failure = await ask.answer(await ask.begin(get), code=5, message="no such variable")
    assert (failure.code, failure.message) == (5, "no such variable")


async def test_what_cannot_be_asked_is_not(ask):
    async def odd(context):
        with pytest.raises(InvalidVariable, match="set, but only"):
            await context.variables.set("x", {1})
        for seconds in (0, 86_401, timedelta(0)):
            with pytest.raises(InvalidVariable, match="a time to live"):
                await context.variables.set("x", 1, time_to_live=seconds)
        with pytest.raises(NoRoom):
            await context.variables.set("x", b"x" * (1024 * 1024))
        return await context.variables.list()

    request = await ask.begin(odd)
    assert request.HasField("list")
    assert await ask.answer(request) == []


async def test_questions_of_one_call_may_be_asked_at_once(ask):
    async def both(context):
        one, two = await asyncio.gather(context.variables.get("one"), context.variables.get("two"))
        return [one.value, two.value]

    first = await ask.begin(both)
    second = await ask.talk.hear("variable")
    for request in (second, first):
        found = variable(request.get.name, value=to_value(request.get.name))
        ask.talk.tell(variable=pb.VariableResponse(request_id=request.request_id, variables=[found]))
    assert await ask.talk.end_of(ask.asked) == ["one", "two"]


async def test_after_its_call_a_question_is_refused(ask):
    late: list[asyncio.Task[Any]] = []

    async def leave_one_behind(context):
        late.append(asyncio.ensure_future(context.variables.get("one")))
        await context.variables.get("two")

    request = await ask.begin(leave_one_behind)
    await ask.talk.hear("variable")
    assert await ask.answer(request, code=5, message="no")
    with pytest.raises((NotPermitted, NotFound)):
        await asyncio.wait_for(late[0], 1)
