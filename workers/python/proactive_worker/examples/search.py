"""A worker that searches the text files of a folder: python -m proactive_worker.examples.search --folder DIR

Nothing outside of the folder is read: files and folders are opened one below the other, and links
are not followed. It needs an operating system that can do so (Linux, macOS).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, TypedDict

from .. import Field, Worker

MOST_BYTES = 1024 * 1024
"""Of one file; a larger one is not searched."""
MOST_FILES = 10_000
MOST_TEXT = 300
"""Characters of a line that are shown, around the match."""


class Match(TypedDict):
    """A line that has the words."""

    file: str
    """Its path below the folder."""
    line: int
    """From 1."""
    text: str


def worker_for(folder: Path) -> Worker:
    """The worker that searches this folder."""
    worker = Worker(name="search", version="1.0.0")

    @worker.tool
    async def search_text(
        query: Annotated[
            str, Field(description="Words, as they stand in the line", min_length=1, max_length=200)
        ],
        limit: Annotated[int, Field(description="At most so many lines", minimum=1, maximum=200)] = 50,
    ) -> AsyncIterator[Match]:
        """Finds the lines of the team's text files that contain the query, upper and lower case alike.
        Answers with file, line and text of each."""
        found = 0
        for name, file in _within(folder):
            if file is None:
                continue
            # A file at a time, so that heartbeats and other calls have their turns.
            for match in await asyncio.to_thread(_matches, name, file, query):
                yield match
                found += 1
                if found >= limit:
                    return

    return worker


def _within(folder: Path) -> Iterator[tuple[str, BinaryIO | None]]:
    """The files below the folder, by name, open if they can be; those that are hidden are not among them."""
    files = 0
    for root, folders, names, descriptor in os.fwalk(folder, follow_symlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith("."):
                continue
            files += 1
            if files > MOST_FILES:
                return
            # Here, where the folder is open, and not in another thread, for which it might no longer be.
            yield os.path.relpath(os.path.join(root, name), folder), _opened(name, descriptor)


def _opened(name: str, folder: int) -> BinaryIO | None:
    # What is a link by now is not opened, and what would wait for a writer does not.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(name, flags, dir_fd=folder), "rb")
    except OSError:
        return None


def _matches(name: str, file: BinaryIO, query: str) -> list[Match]:
    with file:
        text = _text(file)
    if text is None:
        return []
    wanted, found = query.casefold(), list[Match]()
    for number, line in enumerate(text.splitlines(), start=1):
        if (at := line.casefold().find(wanted)) >= 0:
            start = max(0, min(at - 100, len(line) - MOST_TEXT))
            shown = line[start : start + MOST_TEXT].strip()
            found.append({"file": _printable(name), "line": number, "text": shown})
    return found


def _text(file: BinaryIO) -> str | None:
    """None if it is no text file of a size to be searched."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return None
    content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES or b"\0" in content:
        return None
    return content.decode(errors="replace")


def _printable(name: str) -> str:
    # A name on disk is bytes, and need not be text.
    return os.fsencode(name).decode(errors="replace")


def main(arguments: list[str] | None = None) -> None:
    """Runs it until it is told to leave."""
    parser = argparse.ArgumentParser(prog="python -m proactive_worker.examples.search")
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR")
    folder = parser.parse_args(arguments).folder
    if not folder.is_dir():
        parser.error(f"{folder} is no folder")
    worker_for(folder).run()


if __name__ == "__main__":
    main()
