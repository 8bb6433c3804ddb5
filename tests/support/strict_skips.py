"""In CI a skipped test is a failed one, unless what it needs can't be there: CI must not lose tests silently."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

ALLOWED = ("needs a container engine", "needs no container engine")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("CI"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(allowed in reason for allowed in ALLOWED):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped in CI: {reason}"
    return report
