"""What the unit tests of emitting share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.emitting import Emitters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def emitters(tmp_path: Path) -> Iterator[Emitters]:
    """Logs on a broker in memory, their spools in one folder."""
    made = Emitters(tmp_path / "spool")
    yield made
    made.close()
