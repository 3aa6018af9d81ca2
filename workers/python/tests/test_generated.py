"""The stubs are what the contract makes them."""

from __future__ import annotations

import importlib.metadata
import runpy
import warnings
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent.parent
STUBS = HERE / "proactive_worker" / "_generated"


def test_c03_the_stubs_are_those_of_the_contract(tmp_path: Path) -> None:
    try:
        importlib.metadata.version("grpcio-tools")
    except importlib.metadata.PackageNotFoundError:
        reason = "SKIPPED: grpcio-tools is not installed, so nobody knows whether the stubs are current"
        warnings.warn(f"*** {reason} ***", UserWarning, stacklevel=1)
        pytest.skip(reason)
    runpy.run_path(str(HERE / "generate"))["generate"](tmp_path)
    made = {path.name: path.read_text() for path in (tmp_path / "proactive_worker/_generated").iterdir()}
    committed = {path.name: path.read_text() for path in STUBS.glob("workers_pb2*") if path.is_file()}
    assert made.keys() == committed.keys()
    for name, text in made.items():
        assert committed[name] == text, f"{name} is not what workers/python/generate makes: run it"
