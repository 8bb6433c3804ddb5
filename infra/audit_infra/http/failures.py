"""Bounds how often an address may fail to sign in, before anything is looked up for it."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from audit_infra.access import Unauthenticated
from audit_infra.http.rates import Counter, Rate, Window, rate_limited

_REMEMBERED: Final = 10_000


class Failures:
    """Counts failures by address, IPv6 by network of 64 bits.

    Credentials that were good a moment ago are let through even so: who shares an address with somebody who guesses
    must not be locked out by it.
    """

    def __init__(self, rates: str) -> None:
        """`rates` is text such as "60/minute"."""
        self._rates, self._window = Rate.all_of(rates), Window()
        self._good: OrderedDict[bytes, None] = OrderedDict()

    @contextlib.contextmanager
    def attempt(self, address: str, secret: str) -> Iterator[None]:
        """Around the verification. Raises the problem 429 instead when too much failed from this address."""
        counters = [Counter(rate, ("failures", _network(address))) for rate in self._rates]
        digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
        full = None if digest in self._good else self._window.full(counters)
        if full is not None:
            raise rate_limited(full.rate.text("failed credentials from an address"), self._window.left(full).seconds)
        try:
            yield
        except Unauthenticated:
            self._good.pop(digest, None)
            self._window.take(counters)
            raise
        self._good[digest] = None
        self._good.move_to_end(digest)
        if len(self._good) > _REMEMBERED:
            self._good.popitem(last=False)


def _network(address: str) -> str:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address  # a socket in a folder, or nothing
    return str(ipaddress.ip_network((int(known), 64), strict=False)) if known.version == 6 else str(known)


__all__ = ["Failures"]
