"""A worker that tests run as a program."""

import asyncio
import time

from proactive_worker import Context, Worker

worker = Worker(name="program")


@worker.tool
async def slow(seconds: float, context: Context) -> str:
    """Takes its time."""
    if seconds < 0:
        raise ValueError("no time is less than none")
    await context.progress("begun")
    await asyncio.sleep(seconds)
    return "done"


@worker.tool
async def block(context: Context) -> None:
    """Has a thread that nothing stops."""
    await context.progress("begun")
    await asyncio.to_thread(time.sleep, 60)


if __name__ == "__main__":
    worker.run(grace=0.1)
