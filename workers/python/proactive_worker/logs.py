"""The log of a worker that is a program of its own."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

_LINE = "%(levelname)s %(name)s: %(message)s"


def to_outputs() -> None:
    """INFO goes to standard output, what is worse to standard error, unless the program has seen to
    its log itself. A time is for terminals: whoever else takes the lines, as the server does that
    starts a worker, has one of its own.
    """
    root = logging.getLogger()
    if root.handlers:
        return
    usual, worse = _handler(sys.stdout), _handler(sys.stderr)
    usual.addFilter(lambda record: record.levelno < logging.WARNING)
    worse.setLevel(logging.WARNING)
    for handler in (usual, worse):
        root.addHandler(handler)
    root.setLevel(logging.INFO)


def _handler(output: TextIO) -> logging.Handler:
    handler = logging.StreamHandler(output)
    handler.setFormatter(logging.Formatter(f"%(asctime)s {_LINE}" if output.isatty() else _LINE))
    return handler
