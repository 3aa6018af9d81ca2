"""A worker that knows what "next Friday" means: python -m proactive_worker.examples.dates"""

from __future__ import annotations

import asyncio
from typing import Annotated, TypedDict

from .. import Code, Context, Field, ToolError, Worker

try:
    from .days import Unreadable, read
except ModuleNotFoundError as missing:
    raise SystemExit(f"{missing}: pip install './workers/python[dates]'") from None

worker = Worker(name="dates", version="1.0.0")

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Resolved(TypedDict):
    """A day."""

    date: str
    """yyyy-MM-dd."""
    weekday: str
    """In English."""
    interpretation: str
    """How the phrase was understood, and what else it might mean."""


@worker.tool
async def resolve_date(
    phrase: Annotated[
        str,
        Field(
            description="The words for one day, as they stand on the screen and in their language, "
            "and nothing else: 'next Friday', 'übermorgen', 'le 3 mars', 'end of the month'.",
            min_length=1,
            max_length=100,
        ),
    ],
    context: Context,
) -> Resolved:
    """Says which calendar day a phrase means for this user: in their language, their time zone, seen
    from the moment of the screenshot. Call it for any relative or ambiguous day ("next Friday",
    "in two weeks", "3/4") before filling inferred_deadline, and read the interpretation: it says what
    else the phrase might mean. It fails if the phrase names no single day; then leave the deadline
    out rather than guess."""
    try:
        # dateparser reads its languages from disk, and takes its time.
        day = await asyncio.to_thread(read, phrase, context.now, context.locale)
    except Unreadable as unreadable:
        raise ToolError(str(unreadable), code=Code.INVALID_ARGUMENT) from None
    return {
        "date": day.date.isoformat(),
        "weekday": _WEEKDAYS[day.date.weekday()],
        "interpretation": day.interpretation,
    }


if __name__ == "__main__":
    worker.run()
