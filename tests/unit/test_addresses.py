"""Whose address counts: canonical or empty, and nothing that an untrusted peer says about itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_producers.addresses import Address, client_address, networks, parse_address
from audit_schemas.canonical import canonical_ip
from audit_schemas.event import parse_event
from tests.builders import event_values

PROXIES = networks(["10.0.0.0/8", "2001:db8:ffff::/48"])
TEXTS = st.text(max_size=700)
FORWARDED = st.lists(
    st.sampled_from(
        [
            "203.0.113.7",
            "10.1.2.3",
            '"[2001:db8::1]:80"',
            "unknown",
            "for=",
            'for="',
            '"',
            ",",
            ";",
            " ",
            "\\",
            "%",
            ":",
        ]
    )
    | st.ip_addresses().map(str)
    | st.text(max_size=5),
    max_size=12,
).map("".join)
HEADERS = st.lists(st.tuples(st.sampled_from(["X-Forwarded-For", "forwarded", "host"]), FORWARDED), max_size=4)
PEERS = st.none() | st.sampled_from(["10.0.0.1", "::ffff:10.0.0.1", "198.51.100.9", "", "/run/app.sock"]) | TEXTS


@pytest.mark.parametrize(
    ("text", "ip"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7:443 ", "203.0.113.7"),
        ("203.0.113.7:_hidden", "203.0.113.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:8080", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:80", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_the_address_in_a_text_is_found(text: str, ip: str) -> None:
    """Blanks, brackets, ports and zones are not part of it; a mapped IPv4 is IPv4."""
    assert parse_address(text) == Address(ip)


@pytest.mark.parametrize(
    "text",
    ["unknown", "_proxy", "::", "[]:80", "%eth0", "1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4:", "1.2.3.4, 5.6.7.8"]
    + ["[1.2.3.4", "2001:db8::1]:80", "<script>", "x" * 400],
)
def test_what_is_no_address_is_kept_beside_an_empty_one(text: str) -> None:
    """Nothing is guessed, and nothing is lost."""
    assert parse_address(text) == Address("", text)


def test_what_is_kept_is_cut_and_can_be_carried() -> None:
    """At most 500 characters, without NUL and unpaired surrogates, which no event may hold."""
    assert parse_address("y" * 5000) == Address("", "y" * 500)
    assert parse_address("\0\ud800") == Address("", "�?")


@given(TEXTS)
def test_any_text_gives_a_canonical_address_or_none(text: str) -> None:
    """Never an exception; an event takes whatever comes out."""
    found = parse_address(text)
    assert canonical_ip(found.ip) == found.ip
    assert len(found.raw) <= 500
    assert not (found.ip and found.raw)
    parse_event(event_values(ip=found.ip, metadata={"raw": found.raw}))


@given(PEERS, HEADERS)
def test_any_headers_give_a_canonical_address_or_none(peer: str | None, headers: list[tuple[str, str]]) -> None:
    """Never an exception, whoever sends whatever."""
    found = client_address(peer, headers, PROXIES)
    assert canonical_ip(found.ip) == found.ip
    assert len(found.raw) <= 500


@given(PEERS, HEADERS)
def test_headers_of_untrusted_peers_never_matter(peer: str | None, headers: list[tuple[str, str]]) -> None:
    """Only a proxy that is named is believed; without names nobody is."""
    assert client_address(peer, headers, ()) == parse_address(peer or "")
    if not parse_address(peer or "").ip.startswith(("10.", "2001:db8:ffff:")):
        assert client_address(peer, headers, PROXIES) == parse_address(peer or "")


@given(HEADERS, st.ip_addresses().filter(lambda ip: not any(ip in one for one in PROXIES) and int(ip)))
def test_what_a_client_writes_never_hides_what_the_proxy_saw(headers: list[tuple[str, str]], client: Any) -> None:
    """Whatever stands to the left, also an open quotation mark, the address the proxy appended is the answer."""
    seen = parse_address(str(client))
    ours = [pair for pair in headers if pair[0] != "forwarded"]
    assert client_address("10.0.0.1", [*ours, ("X-Forwarded-For", str(client))], PROXIES) == seen
    theirs = [pair for pair in headers if pair[0] == "forwarded"]
    element = f'for="[{client}]"' if client.version == 6 else f"for={client}"
    assert client_address("10.0.0.1", [*theirs, ("Forwarded", element)], PROXIES) == seen


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], Address("10.0.0.1")),
        ([("X-Forwarded-For", "")], Address("10.0.0.1")),
        ([("X-Forwarded-For", "203.0.113.7")], Address("203.0.113.7")),
        ([("X-Forwarded-For", "6.6.6.6, 203.0.113.7, 10.2.2.2")], Address("203.0.113.7")),
        ([("X-Forwarded-For", "6.6.6.6"), ("x-forwarded-for", "203.0.113.7,, 10.2.2.2")], Address("203.0.113.7")),
        ([("X-Forwarded-For", "10.3.3.3, 10.2.2.2")], Address("10.3.3.3")),
        ([("X-Forwarded-For", "6.6.6.6, nonsense")], Address("", "nonsense")),
        ([("Forwarded", 'for=6.6.6.6, For="[2001:db8::1]:4711";proto=https, for=10.2.2.2')], Address("2001:db8::1")),
        ([("Forwarded", "for=unknown")], Address("", "for=unknown")),
        ([("Forwarded", "proto=https")], Address("", "proto=https")),
        ([("Forwarded", "for=1.1.1.1;for=2.2.2.2")], Address("", "for=1.1.1.1;for=2.2.2.2")),
        ([("Forwarded", "for=6.6.6.6"), ("X-Forwarded-For", "203.0.113.7")], Address("203.0.113.7")),
    ],
)
def test_the_chain_is_read_from_the_right(headers: list[tuple[str, str]], expected: Address) -> None:
    """Trusted proxies are skipped, the first other one is the answer, and garbage there means that it is unknown."""
    assert client_address("10.0.0.1", headers, PROXIES) == expected


def test_the_header_that_the_proxies_write_can_be_named() -> None:
    """Then the other one, which a client may have sent, is not looked at."""
    headers = [("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=203.0.113.7")]
    assert client_address("10.0.0.1", headers, PROXIES, forwarding=("forwarded",)) == Address("203.0.113.7")


def test_a_mapped_peer_and_a_mapped_network_are_ipv4() -> None:
    """A server that listens on both families sees its proxy's IPv4 address as IPv6."""
    headers = [("x-forwarded-for", "203.0.113.7")]
    assert client_address("::ffff:10.0.0.1", headers, PROXIES).ip == "203.0.113.7"
    assert client_address("10.0.0.1", headers, networks(["::ffff:10.0.0.0/104"])).ip == "203.0.113.7"


def test_every_network_that_is_none_is_named() -> None:
    """A mistake in the settings is found at the start."""
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8.*nonsense"):
        networks(["10.0.0.1/8", "192.0.2.0/24", "nonsense"])
