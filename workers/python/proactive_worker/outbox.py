"""What the worker has yet to say: one queue, which one task empties, for a stream takes one event
at a time and breaks if a write is cancelled."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ._generated import workers_pb2 as pb

MOST_EVENT = 1024 * 1024
"""Bytes of one encoded event."""
_MOST_WAITING = 16
"""Events, before whoever has much to say waits."""
_MOST_ANSWERS = 1024
"""Events, before nothing more is read that has to be answered."""


def _always() -> bool:
    return True


class Outbox:
    """Events in order. Whoever has much to say waits for room first."""

    def __init__(self) -> None:
        self._events: deque[tuple[pb.WorkerEvent, Callable[[], bool]]] = deque()
        self._closed = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._calm = asyncio.Event()
        self._calm.set()

    def __len__(self) -> int:
        return len(self._events)

    def say(self, event: pb.WorkerEvent, still: Callable[[], bool] = _always) -> None:
        """To be sent, unless nobody wants it any more when its turn comes."""
        if self._closed:
            return
        self._events.append((event, still))
        self._changed.set()
        if len(self._events) >= _MOST_WAITING:
            self._room.clear()
        if len(self._events) >= _MOST_ANSWERS:
            self._calm.clear()

    async def room(self) -> None:
        """Waits until there is some."""
        # The first of those who wait may take it.
        while not self._room.is_set():
            await self._room.wait()

    async def calm(self) -> None:
        """Waits while there is so much to say that nothing more should be asked."""
        await self._calm.wait()

    def close(self) -> None:
        """Nothing comes after what was said."""
        self._closed = True
        self._changed.set()
        self._room.set()
        self._calm.set()

    async def next(self) -> pb.WorkerEvent | None:
        """The next event; None after the last."""
        while True:
            while self._events:
                event, still = self._events.popleft()
                if len(self._events) < _MOST_WAITING:
                    self._room.set()
                if len(self._events) < _MOST_ANSWERS:
                    self._calm.set()
                if still():
                    return event
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
