"""What both middlewares read from a request, whatever the protocol calls it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import uuid_utils

from audit_producers.addresses import FORWARDING_HEADERS, Networks, client_address, networks

_SANE: Final = re.compile(r"[\x20-\x7e]{1,128}")
_HEADER_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True, slots=True)
class RequestRules:
    """The settings of a middleware. `request_id_header` is in lower case."""

    trusted: Networks
    request_id_header: str
    source: str
    forwarding: tuple[str, ...]

    @classmethod
    def of(
        cls, trusted_proxies: Iterable[str], request_id_header: str, source: str, forwarding: Iterable[str]
    ) -> RequestRules:
        """Raises `ValueError` with everything that is wrong."""
        problems: list[str] = []
        if isinstance(trusted_proxies, str):
            problems.append("trusted_proxies must be a list of addresses and CIDRs, not one text")
            trusted_proxies = ()
        try:
            trusted = networks(trusted_proxies)
        except ValueError as error:
            problems.append(f"trusted_proxies: {error}")
        header, names = request_id_header.lower(), tuple(name.lower() for name in forwarding)
        if not _HEADER_NAME.fullmatch(header):
            problems.append(f"request_id_header: {request_id_header!r} is not the name of a header")
        if not set(names) <= set(FORWARDING_HEADERS):
            problems.append(f"forwarding: only {' and '.join(FORWARDING_HEADERS)} can be read")
        if problems:
            raise ValueError("; ".join(problems))
        return cls(trusted, header, source, names)

    def request_id(self, given: str | None) -> str:
        """The caller's id when it is 1 to 128 characters of printable ASCII, else a new one."""
        given = (given or "").strip()
        return given if _SANE.fullmatch(given) else str(uuid_utils.uuid7())

    def ip(self, peer: str | None, headers: Iterable[tuple[str, str]]) -> str:
        """The caller's address, empty where it can't be known."""
        return client_address(peer, headers, self.trusted, forwarding=self.forwarding).ip


__all__ = ["RequestRules"]
