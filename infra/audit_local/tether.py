"""Ties a process to its parent: runs the given command, which the kernel kills when the parent is gone.

Called by its file name (`python -I -S tether.py PARENT_PID COMMAND…`), so that it starts in a few milliseconds. The
command takes this process's place and id. Linux only knows the request (`prctl`, PR_SET_PDEATHSIG); elsewhere the
command runs untied and the next `audit-log up` ends what was left.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the request was made
        raise SystemExit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
