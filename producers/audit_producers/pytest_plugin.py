"""The fixture with which a service's tests see what it writes to the log; pytest finds it where the SDK is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from audit_producers.context import audit_context
from audit_producers.recording import Recorder, recording


@pytest.fixture
def audit_log_recorder() -> Iterator[Recorder]:
    """The events the test emits: validated as in production, kept in memory, sent nowhere.

    An `audit_context` surrounds the test, so that code which says who acts (`set_actor`) runs without a middleware.
    """
    with recording() as recorder, audit_context():
        yield recorder


__all__ = ["audit_log_recorder"]
