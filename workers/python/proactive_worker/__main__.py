"""python -m proactive_worker module:worker runs the worker of that name in that module."""

from __future__ import annotations

import argparse
import importlib

from .worker import Worker


def main(arguments: list[str] | None = None) -> None:
    """Runs it until it is told to leave."""
    parser = argparse.ArgumentParser(prog="python -m proactive_worker", description=__doc__)
    parser.add_argument("worker", metavar="MODULE:WORKER", help='such as "mytools:worker"')
    parser.add_argument("--exit-with-parent", action="store_true", help="leave when standard input ends")
    given = parser.parse_args(arguments)
    module, _, name = given.worker.partition(":")
    worker = getattr(importlib.import_module(module), name or "worker", None)
    if not isinstance(worker, Worker):
        parser.error(f"{given.worker} is no Worker")
    worker.run(exit_with_parent=given.exit_with_parent)


if __name__ == "__main__":
    main()
