"""What happens to logs when their process forks or ends: the one place that hooks into the interpreter.

Fork: the child starts anew with an instance, a spool and a connection of its own; what the parent has taken, the parent
sends. Exit: everything becomes durable, and Kafka gets some seconds. SIGTERM: where nobody handles it, the interpreter
ends in order instead of at once, so that the exit is one of those.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import signal
import sys
import threading
import weakref
from types import FrameType
from typing import Any, Protocol

_log = logging.getLogger("audit_producers")


class Lives(Protocol):
    """Something that has threads and files in this process."""

    def begin_in_child(self) -> None:
        """Called in a forked child, on its only thread: begin anew, touch nothing of the parent's."""

    def end_with_process(self) -> None:
        """Called at the end of the process: make everything durable, within a bound."""


_ALL: weakref.WeakSet[Any] = weakref.WeakSet()
_READY_IN: set[tuple[int, str]] = set()


def register(one: Lives) -> None:
    """From now on `one` is told of forks and of the end of the process."""
    _ALL.add(one)


def prepare_process(*, handle_sigterm: bool) -> None:
    """Called by each process before its first event, on the thread that emits it."""
    process = os.getpid()
    for name in ("multiprocessing.util", "billiard.util"):
        # Their children end by `os._exit` and skip `atexit`; they call finalizers of their own, and only those that
        # were made in the child. Who has not imported the module is not such a child.
        module = sys.modules.get(name)
        if module is not None and (process, name) not in _READY_IN:
            _READY_IN.add((process, name))
            module.Finalize(None, end_all, exitpriority=10)
    celery = sys.modules.get("celery.signals")
    if celery is not None:
        # Its pool ends children by `os._exit` behind the finalizers. A receiver is connected once, however often.
        celery.worker_process_shutdown.connect(_on_celery_shutdown, weak=False, dispatch_uid="audit-log")
    if (
        handle_sigterm
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    ):
        signal.signal(signal.SIGTERM, _on_sigterm)


def keep_for_ever(one: object) -> None:
    """For a forked child: its copy of what the parent has open is never freed, not even at the interpreter's end.

    Freeing it would act on what is the parent's: close its database (which truncates the log under the parent), wait
    for threads of Kafka's client that the child does not have.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


def end_all() -> None:
    """Ends everything that is registered; what fails is logged and stops nothing."""
    for one in list(_ALL):
        try:
            one.end_with_process()
        except Exception:  # noqa: BLE001 - the others must end too
            _log.exception("an audit log did not end in order")


def _on_celery_shutdown(**_: object) -> None:
    end_all()


def _on_sigterm(number: int, _: FrameType | None) -> None:
    """Unwinds the main thread: `finally` and `with` blocks run, then `atexit`. 143 is the shell's word for SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise SystemExit(128 + number)


def _after_fork() -> None:
    for one in list(_ALL):
        one.begin_in_child()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(end_all)

__all__ = ["Lives", "end_all", "keep_for_ever", "prepare_process", "register"]
