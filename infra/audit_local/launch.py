"""How child processes are started here: with the user's environment, and tied to this process's life."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from audit_local import tether

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def tethered(command: Sequence[str]) -> list[str]:
    """The command, started so that it is killed when this process ends, whatever ends it.

    Start it from the main thread: the kernel counts the end of the thread that started a child as its parent's end.
    """
    how = "kernel" if sys.platform == "linux" else "watcher"
    return [sys.executable, "-I", "-S", tether.__file__, how, str(os.getpid()), *command]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with `settings` over it: PATH, HOME and locale are the user's."""
    return {**os.environ, **settings}


__all__ = ["environment", "tethered"]
