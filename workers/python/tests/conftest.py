"""What the tests share: a server, and a worker that is connected to it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import hypothesis
import pytest
import pytest_asyncio
from fake_server import Conversation, FakeServer, Running

from proactive_worker import Worker

# Nothing is left in the source tree, and a slow machine is no failure.
_home = tempfile.mkdtemp(prefix="hypothesis-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
hypothesis.configuration.set_hypothesis_home_dir(_home)
hypothesis.settings.register_profile("here", database=None, deadline=None, max_examples=60)
hypothesis.settings.load_profile("here")

Connect = Callable[..., Awaitable[Conversation]]


@pytest_asyncio.fixture
async def server() -> AsyncIterator[FakeServer]:
    server = FakeServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def worker() -> Worker:
    return Worker(name="tests", version="1.2.3", calls_at_once=4)


@pytest_asyncio.fixture
async def connect(server: FakeServer) -> AsyncIterator[Connect]:
    running: list[Running] = []

    async def connect(worker: Worker, **options: Any) -> Conversation:
        running.append(Running(worker, server, **options))
        return await server.arrival()

    yield connect
    for one in running:
        if not one.task.done():
            one.stop.set()
            one.task.cancel()
