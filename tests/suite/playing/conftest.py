from __future__ import annotations

from tests.suite.driver.conftest import drive_in_process

__all__ = ["drive_in_process"]
