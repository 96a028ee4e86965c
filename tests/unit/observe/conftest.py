"""The home of the execution layer's tests."""

from __future__ import annotations

from tests.unit.execute.conftest import site

__all__ = ["site"]
