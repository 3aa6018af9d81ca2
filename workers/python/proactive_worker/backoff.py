"""How long to wait before connecting again."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_S = 1.0
MOST_S = 30.0


class Backoff:
    """Any time up to a bound that doubles from 1 s to 30 s, so that many workers that lost their
    server come back one by one."""

    def __init__(
        self, first: float = FIRST_S, most: float = MOST_S, dice: Callable[[], float] = random.random
    ) -> None:
        self._first = first
        self._most = most
        self._dice = dice
        self._bound = first

    def next(self) -> float:
        """Seconds to wait now."""
        delay = self._bound * self._dice()
        self._bound = min(self._bound * 2, self._most)
        return delay

    def lasted(self, seconds: float) -> None:
        """A stream did; after one that was of use, the next wait is a short one."""
        if seconds >= self._most:
            self._bound = self._first
