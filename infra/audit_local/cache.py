"""The folder for what all local stacks of one user share: Kafka's jars, and who has which port."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache, as the XDG base directory specification places it."""
    base = os.environ.get("XDG_CACHE_HOME")  # a convention of the system, not a setting of ours
    return (Path(base) if base else Path.home() / ".cache") / "workspace-audit-log"


__all__ = ["cache_folder"]
