"""The homes of the execution layer's tests."""

from __future__ import annotations

from tests.unit.execute.conftest import driven, site

__all__ = ["driven", "site"]
