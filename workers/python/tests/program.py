"""A worker that tests run as a program."""

import asyncio

from proactive_worker import Context, Worker

worker = Worker(name="program")


@worker.tool
async def slow(seconds: float, context: Context) -> str:
    """Takes its time."""
    await context.progress("begun")
    await asyncio.sleep(seconds)
    return "done"
