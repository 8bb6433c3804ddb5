"""Which loopback ports the processes get: the usual one when it is free, else any free one."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import TYPE_CHECKING

from audit_local.cache import cache_folder
from audit_local.file_lock import FileLockedError, exclusive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LOOPBACK = "127.0.0.1"
SPARE = range(15000, 32000)
"""Below the range from which kernels take ports for outgoing connections. A client that keeps dialling a port inside
that range while the server is down sooner or later connects to itself and then keeps the server from coming back."""


def is_free(port: int) -> bool:
    """Whether a server could listen there now; a port in TIME_WAIT counts as free, as it does for the servers."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on, picked at random so that parallel runs rarely meet."""
    found = (port for port in random.SystemRandom().sample(SPARE, len(SPARE)) if is_free(port))
    return [next(found) for _ in range(count)]


@contextmanager
def claimed(usual: Mapping[str, int], cache: Path | None = None) -> Iterator[dict[str, int]]:
    """For each name its usual port, or a free one where that is busy; kept from this user's other stacks meanwhile.

    A server binds its port seconds after it was chosen. Two stacks that start together would choose the same.
    """
    with ExitStack() as claims:
        yield {name: _claim(port, cache or cache_folder(), claims) for name, port in usual.items()}


def _claim(usual: int, cache: Path, claims: ExitStack) -> int:
    for port in chain([usual], iter(lambda: free_ports(1)[0], None)):
        try:
            claims.enter_context(exclusive(cache / "ports" / f"{port}.lock", wait=False, patience_seconds=0))
        except FileLockedError:
            continue
        if is_free(port):
            break
    return port


__all__ = ["LOOPBACK", "claimed", "free_ports", "is_free"]
