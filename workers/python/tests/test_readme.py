"""The README's worker works."""

import re
from pathlib import Path
from typing import Any

import pytest

from proactive_worker import ToolError
from proactive_worker.testing import call

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.mark.asyncio
async def test_what_the_readme_shows_runs() -> None:
    made, test = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    # As a module of that name, which is not the main one.
    names: dict[str, Any] = {"__name__": "mytools"}
    exec(compile(made + test, str(README), "exec"), names)
    await names["test_a_room_is_found"]()
    with pytest.raises(ToolError, match="no room"):
        await call(names["worker"], "free_room", {"people": 21})
