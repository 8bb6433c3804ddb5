"""Whose address a request came from, believing no more of its headers than the trusted proxies vouch for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from audit_schemas.canonical import canonical_ip

Networks = tuple[IPv4Network | IPv6Network, ...]

FORWARDING_HEADERS: Final = ("x-forwarded-for", "forwarded")
"""The headers in which proxies say for whom they ask, in the order they are looked for; the first one there counts."""

_MAX_RAW: Final = 500
_LONGEST: Final = 128
_PORT: Final = r"(?::(?:\d{1,5}|_[A-Za-z0-9._-]{1,64}))?"
_BRACKETED: Final = re.compile(rf"\[([^\[\]]*)\]{_PORT}")
_WITH_PORT: Final = re.compile(rf"([0-9.]+){_PORT}")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class Address:
    """An address as `canonical_ip` writes it, or empty; `raw` is then what could not be understood, at most 500 long."""

    ip: str = ""
    raw: str = ""


_NONE = Address()


def networks(texts: Iterable[str]) -> Networks:
    """Addresses and CIDRs as networks. Raises `ValueError` naming every one that is neither."""
    found: list[IPv4Network | IPv6Network] = []
    problems: list[str] = []
    for text in texts:
        try:
            network = ip_network(text.strip())
        except ValueError as error:
            problems.append(str(error))
            continue
        if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
            # Peers are compared in canonical form, in which a mapped IPv4 is IPv4.
            network = IPv4Network((network.network_address.packed[12:], network.prefixlen - 96))
        found.append(network)
    if problems:
        raise ValueError("; ".join(problems))
    return tuple(found)


def networks_of(value: str) -> Networks:
    """The same of one text, with commas between."""
    return networks(one for one in value.split(",") if one.strip())


def parse_address(text: str) -> Address:
    """The address in a text: blanks, brackets, port and zone are left out, a mapped IPv4 becomes IPv4."""
    text = text.strip()
    if not text:
        return _NONE
    bare = text
    if len(text) <= _LONGEST:
        match = _BRACKETED.fullmatch(text) or _WITH_PORT.fullmatch(text)
        bare = (match[1] if match else text).partition("%")[0]
        try:
            ip = canonical_ip(bare)
        except ValueError:
            ip = ""
        if ip:
            return Address(ip)
    return Address(raw=_carriable(text))


def client_address(
    peer: str | None,
    headers: Iterable[tuple[str, str]],
    trusted: Networks,
    *,
    forwarding: Sequence[str] = FORWARDING_HEADERS,
) -> Address:
    """The address of whoever asks.

    Args:
        peer: the other end of the connection; None or a path when that is a unix socket.
        headers: names and values as they came, in order.
        trusted: the proxies that are believed. Headers of any other peer are not even looked at.
        forwarding: the headers to look for, in lower case. The first one that is there counts: a proxy that writes
            one may pass on the other as the client sent it, so name only the one that yours write.

    From the right, the addresses of trusted proxies are skipped; the first other one is the answer. When that one
    can't be understood ("unknown", garbage), the answer is empty with its text as `raw`. When all are trusted, the
    first of the chain asked for itself.
    """
    nearest = parse_address(peer or "")
    if not _is_trusted(nearest.ip, trusted):
        return nearest
    for hop in _hops(headers, forwarding):
        nearest = hop
        if not _is_trusted(hop.ip, trusted):
            break
    return nearest


def _is_trusted(ip: str, trusted: Networks) -> bool:
    if not ip or not trusted:
        return False
    address = ip_address(ip)
    return any(address in network for network in trusted)


def _hops(headers: Iterable[tuple[str, str]], forwarding: Sequence[str]) -> Iterator[Address]:
    """What the proxies said, the last one first."""
    lines: dict[str, list[str]] = {}
    for name, value in headers:
        lines.setdefault(name.lower(), []).append(value)
    for name in forwarding:
        if name in lines:
            elements = _from_the_right(",".join(lines[name]), quotes=name == "forwarded")
            yield from (_forwarded(one) if name == "forwarded" else parse_address(one) for one in elements)
            return


def _from_the_right(value: str, *, quotes: bool) -> Iterator[str]:
    """The elements between commas, last first; empty ones don't count.

    Read from the right, so that a quote which the client opened can't swallow what the proxies wrote behind it.
    """
    end, quoted = len(value), False
    for place in range(len(value) - 1, -2, -1):
        mark = value[place] if place >= 0 else ","
        if mark == '"' and quotes:
            quoted = not quoted
        elif mark == "," and (not quoted or place < 0):
            if element := value[place + 1 : end].strip():
                yield element
            end = place


def _forwarded(element: str) -> Address:
    """The `for` of one element of a Forwarded header (RFC 7239); an element without one names nobody."""
    found = [
        value.strip()
        for name, _, value in (pair.partition("=") for pair in element.split(";"))
        if name.strip().lower() == "for"
    ]
    if len(found) != 1:
        return Address(raw=_carriable(element))
    value = found[0]
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    address = parse_address(value)
    return address if address.ip else Address(raw=_carriable(element))


def _carriable(text: str) -> str:
    """Cut to what is kept, and without what no event may hold: NUL, and surrogates that UTF-8 can't carry."""
    return text[:_MAX_RAW].replace("\0", "�").encode("utf-8", "replace").decode()


__all__ = ["FORWARDING_HEADERS", "Address", "Networks", "client_address", "networks", "networks_of", "parse_address"]
