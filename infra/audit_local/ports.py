"""Which loopback ports the processes get: the usual one when it is free, else any free one."""

from __future__ import annotations

import random
import socket

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


def choose(usual: dict[str, int]) -> dict[str, int]:
    """For each name its usual port, or a free one where that is busy."""
    return {name: port if is_free(port) else free_ports(1)[0] for name, port in usual.items()}


__all__ = ["LOOPBACK", "choose", "free_ports", "is_free"]
