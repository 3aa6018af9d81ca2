"""A worker that is killed in the middle of its work.

    killed_worker.py FILE

Of each call it first appends to FILE which process begins it and its number: in one
write, so that a kill leaves a whole line or none.
"""

import asyncio
import os
import sys

from proactive_worker import Worker

worker = Worker(name="killed", calls_at_once=8)
begun = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@worker.tool
async def add(n: int) -> int:
    """Does something with n."""
    os.write(begun, b"%d %d\n" % (os.getpid(), n))
    await asyncio.sleep(0.005)
    return n


worker.run()
