"""Ties a process to its parent: runs the given command and has it killed when the parent is gone, however it went.

Called by its file name (`python -I -S tether.py HOW PARENT_PID COMMAND…`), so that it starts in a few milliseconds.
The command takes this process's place and id. HOW is `kernel` (Linux: `prctl` with PR_SET_PDEATHSIG) or `watcher`
(elsewhere: a small process beside the command that looks for the parent twice a second).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress

PR_SET_PDEATHSIG = 1
LOOK_SECONDS = 0.5


def main() -> None:
    how, parent, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    if how == "kernel":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    elif os.fork() == 0:
        watch(parent)
    if os.getppid() != parent:  # it ended before the request was made
        raise SystemExit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise SystemExit(f"{command[0]} cannot be run: {error.strerror}") from None


def watch(parent: int) -> None:
    """Ends with the command it was forked beside, or ends that command when `parent` is gone."""
    command = os.getppid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # an open output would keep the reader waiting after the command has ended
        os.dup2(null, stream)
    while os.getppid() == command:
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            with suppress(ProcessLookupError):
                os.kill(command, signal.SIGKILL)
        except PermissionError:
            pass
        time.sleep(LOOK_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    main()
