"""How child processes are started here: in a session of their own, and tied to this process's life."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from audit_local import tether

if TYPE_CHECKING:
    from collections.abc import Sequence


def tethered(command: Sequence[str]) -> list[str]:
    """The command, started so that it is killed when this process ends, whatever ends it.

    Start it from the main thread: the kernel counts the end of the thread that started a child as its parent's end.
    """
    return [
        sys.executable,
        "-I",
        "-S",
        str(tether.__file__),
        str(os.getpid()),
        *command,
    ]


__all__ = ["tethered"]
