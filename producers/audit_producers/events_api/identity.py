"""Which event a retry key means: ids that nobody else can name, and what makes two attempts the same.

The key in a request is only a key. The stored id is a UUIDv5 of workspace, app and key, and the first two come from the
credential, so no caller can name an event of another app, nor one of the product.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

NAMESPACE: Final = uuid.UUID("6f1c2f4e-6c0b-5f0e-9a53-0d8c6f0b7a11")
"""Never changes: the ids of all events with retry keys follow from it."""
_VERSION: Final = 0x5 << 76
_VERSION_MASK: Final = ~(0xF << 76)
_VARIANT: Final = 0x2 << 62
_VARIANT_MASK: Final = ~(0x3 << 62)
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode


class Identities:
    """The ids of one app in one workspace."""

    def __init__(self, workspace_id: str, app_id: str) -> None:
        # Lengths in front, so that no other pair of names with another key gives the same bytes.
        prefix = f"{len(workspace_id)}:{workspace_id}{len(app_id)}:{app_id}"
        self._hash = hashlib.sha1(NAMESPACE.bytes + prefix.encode(), usedforsecurity=False)

    def of_event(self, key: str) -> str:
        """The stored id of the event with this retry key."""
        return self._id(f"event:{key}")

    def of_position(self, request_key: str, index: int) -> str:
        """The stored id of an event that has no key of its own in a request with an Idempotency-Key."""
        return self._id(f"position:{index}:{request_key}")

    def of_request(self, request_key: str) -> str:
        """What a request with an Idempotency-Key is remembered by; not the id of an event."""
        return self._id(f"request:{request_key}")

    def _id(self, name: str) -> str:
        hashed = self._hash.copy()
        hashed.update(name.encode())
        number = int.from_bytes(hashed.digest()[:16], "big") & _VERSION_MASK & _VARIANT_MASK
        text = f"{number | _VERSION | _VARIANT:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def content_of(item: Mapping[str, Any]) -> str:
    """A hash of what the caller says of an event: equal for the same event, whatever the order and blanks of its JSON.

    What is null counts as absent, and the retry key is no content. Raises `RecursionError` for deep nesting.
    """
    said = {name: value for name, value in item.items() if value is not None and name != "event_id"}
    return _hashed(_encode(said))


def content_of_request(contents: list[str]) -> str:
    """A hash of a request's events in their order, from the texts that stand for them."""
    return _hashed("\n".join(contents))


def _hashed(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


__all__ = ["NAMESPACE", "Identities", "content_of", "content_of_request"]
