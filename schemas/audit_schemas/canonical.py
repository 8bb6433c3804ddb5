"""The one text form of each kind of value, so that a stored row gives back the bytes that were sent."""

from __future__ import annotations

import ipaddress
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from uuid import UUID

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NIL = "00000000-0000-0000-0000-000000000000"
_MAPPED = b"\0" * 10 + b"\xff\xff"
_NO_ADDRESS = b"\0" * 16
_WHOLE = 2**63

_encode_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode


def canonical_uuid(value: str | UUID) -> str:
    """UUID text in lower case, 36 characters. Raises `ValueError` for other spellings and for the nil UUID."""
    text = (value if type(value) is str else str(value)).lower()
    if _UUID.fullmatch(text) is None:
        raise ValueError("is not a UUID of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
    if text == _NIL:
        raise ValueError("is the nil UUID")
    return text


@lru_cache(maxsize=8192)  # the same few people act again and again, and reading an address takes 3 µs
def canonical_ip(value: str) -> str:
    """An address as RFC 5952 text; a mapped IPv4 becomes IPv4, empty stays empty.

    Raises `ValueError` for anything else, for zones (`%eth0`) and for `::`, which stands for "absent" in storage.
    """
    if value == "":
        return ""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise ValueError("is not an IPv4 or IPv6 address") from None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.scope_id is not None:
        raise ValueError("has a zone; send the address without it")
    if address.packed == _NO_ADDRESS:
        raise ValueError("is the unspecified address; leave it empty")
    return ip_text(address.packed)


def ip_text(packed: bytes) -> str:
    """The canonical text of the 16 bytes a row stores; the inverse of storing `canonical_ip`'s result."""
    if packed == _NO_ADDRESS:
        return ""
    if packed.startswith(_MAPPED):
        return str(ipaddress.IPv4Address(packed[12:]))
    # Python ≥ 3.13 spells addresses of ::ffff:0:0/96 with dots; those left above, so every version agrees here.
    return str(ipaddress.IPv6Address(packed))


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no blanks and no escapes beyond the required ones.

    Raises `ValueError` for NaN and infinities, values JSON has no form for, keys that are not text, unpaired
    surrogates, and nesting too deep to write.
    """
    if type(value) is dict and (flat := _flat(value)) is not None:
        return flat
    try:
        text = _encode_json(value)
        text.encode()
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except TypeError as error:
        raise ValueError(f"is not JSON: {error}") from None
    except UnicodeEncodeError:
        raise ValueError("has text with unpaired surrogates") from None
    _refuse_other_keys(value)
    return text


def _flat(value: dict[Any, Any]) -> str | None:
    """The JSON of a small object of plain texts and whole numbers, in half the encoder's time; None for all others."""
    if not 0 < len(value) <= 8:
        return None
    parts = []
    for key, inner in value.items():
        kind = type(inner)
        if type(key) is not str:
            return None
        if kind is str:
            parts.append((key, _encode_json(inner)))
        elif kind is int and -_WHOLE < inner < _WHOLE:
            parts.append((key, str(inner)))
        else:
            return None
    parts.sort()
    text = "{" + ",".join([f"{_encode_json(key)}:{inner}" for key, inner in parts]) + "}"
    return text if text.isascii() else None


def _refuse_other_keys(value: Any) -> None:
    """`json` turns 1, True and None into text keys silently, so that two keys could become one."""
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            for key, inner in current.items():
                if not isinstance(key, str):
                    raise ValueError(f"has the key {key!r}, which is not text")  # noqa: TRY004 - one class for callers
                if isinstance(inner, (dict, list, tuple)):
                    pending.append(inner)
        elif isinstance(current, (list, tuple)):
            pending.extend(inner for inner in current if isinstance(inner, (dict, list, tuple)))


def words(texts: Iterable[str]) -> Iterator[str]:
    """The words a search finds: NFC, lower case, split at everything that is neither letter nor digit.

    Letters and digits are the Unicode classes L and N. The Greek sigma has one lower-case form here: which of its two
    is right depends on what follows the word. The column `words` of the tables says the same, and a test holds the two
    together.
    """
    for text in texts:
        word: list[str] = []
        for character in unicodedata.normalize("NFC", text).lower().replace("ς", "σ"):
            if unicodedata.category(character)[0] in "LN":
                word.append(character)
            elif word:
                yield "".join(word)
                word.clear()
        if word:
            yield "".join(word)


__all__ = ["canonical_ip", "canonical_json", "canonical_uuid", "ip_text", "words"]
