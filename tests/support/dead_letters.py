"""What stands in a topic of dead letters."""

from __future__ import annotations

from tests.support.topics import stored_messages


def dead_letters(bootstrap_servers: str, topic: str) -> list[tuple[bytes | None, int]]:
    """The bytes of each and the offset its header names, in the order of publication."""
    found: list[tuple[bytes | None, int]] = []
    for message in stored_messages(bootstrap_servers, topic):
        offset = dict(message.headers() or [])["audit-offset"]
        assert isinstance(offset, bytes)
        found.append((message.value(), int(offset)))
    return found
