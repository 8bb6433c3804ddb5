"""What a worker writes into the metadata of its offset commit before it inserts: exactly what it is about to insert.

Whoever owns the partition next reads it and knows which range may have landed, and under which token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from audit_consumers.positions import Range, ranges_of

MAX_METADATA_BYTES = 4096
"""`offset.metadata.max.bytes` of the broker, its default."""
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Excluded:
    """Offsets of a batch that go to quarantine instead of into the insert, with the reason of each."""

    reasons: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.reasons)

    def text(self, base: int) -> str:
        """Run-length form, offsets relative to `base`: `framing:0-2,7;oversized:5`."""
        by_reason: dict[str, list[int]] = {}
        for offset, reason in self.reasons.items():
            by_reason.setdefault(reason, []).append(offset - base)
        return ";".join(
            f"{reason}:{','.join(map(str, ranges_of(offsets)))}" for reason, offsets in sorted(by_reason.items())
        )

    @classmethod
    def from_text(cls, text: str, base: int) -> Excluded:
        """The inverse of `text`. Raises `ValueError` for other texts."""
        reasons: dict[int, str] = {}
        for part in filter(None, text.split(";")):
            reason, _, runs = part.partition(":")
            for run in runs.split(","):
                first, _, last = run.partition("-")
                for relative in range(int(first), int(last or first) + 1):
                    reasons[base + relative] = reason
        return cls(reasons)

    def plus(self, more: Mapping[int, str]) -> Excluded:
        """These and some more."""
        return Excluded({**self.reasons, **more})


@dataclass(frozen=True, slots=True)
class Intent:
    """The batch that is about to be inserted. `hash` is of the bytes sent; `at_ms` when it was committed."""

    offsets: Range
    excluded: Excluded
    hash: str
    at_ms: int

    def at(self, now_ms: int) -> Intent:
        """The same intent, committed again."""
        return replace(self, at_ms=now_ms)


@dataclass(frozen=True, slots=True)
class CommitMetadata:
    """All a commit says beside the offset: whose log it counts in, and the open intent if there is one."""

    topic_id: str = ""
    intent: Intent | None = None

    def text(self) -> str:
        """Compact JSON."""
        body: dict[str, object] = {"v": _VERSION, "t": self.topic_id}
        if self.intent is not None:
            offsets = self.intent.offsets
            body |= {
                "f": offsets.first,
                "l": offsets.last,
                "x": self.intent.excluded.text(offsets.first),
                "h": self.intent.hash,
                "at": self.intent.at_ms,
            }
        return json.dumps(body, separators=(",", ":"))

    def fits(self) -> bool:
        """Whether the broker takes it."""
        return len(self.text().encode()) <= MAX_METADATA_BYTES

    @classmethod
    def from_text(cls, text: str) -> CommitMetadata:
        """Reads what a commit says. Text of others, as a group reset leaves it, says nothing: no topic id, no intent."""
        try:
            body = json.loads(text)
            if body["v"] != _VERSION:
                return cls()
            intent = None
            if "l" in body:
                first = int(body["f"])
                intent = Intent(
                    Range(first, int(body["l"])), Excluded.from_text(body["x"], first), str(body["h"]), int(body["at"])
                )
            return cls(str(body["t"]), intent)
        except (ValueError, TypeError, KeyError):
            return cls()


def longest_fitting(topic_id: str, offsets: Range, excluded: Mapping[int, str]) -> Range:
    """The longest beginning of `offsets` whose intent the broker takes.

    A single record always fits, so a batch can always be cut short enough.
    """
    low, high = offsets.first, offsets.last
    while low < high:
        middle = (low + high + 1) // 2
        if _metadata(topic_id, Range(offsets.first, middle), excluded).fits():
            low = middle
        else:
            high = middle - 1
    return Range(offsets.first, low)


def _metadata(topic_id: str, offsets: Range, excluded: Mapping[int, str]) -> CommitMetadata:
    inside = Excluded({offset: reason for offset, reason in excluded.items() if offset in offsets})
    return CommitMetadata(topic_id, Intent(offsets, inside, "0" * 32, 10**13))


def token_base(cluster_id: str, topic_id: str, partition: int, offsets: Range) -> str:
    """The beginning of every insert token of a batch."""
    return f"{cluster_id}:{topic_id}:{partition}:{offsets.first}-{offsets.last}"


__all__ = ["MAX_METADATA_BYTES", "CommitMetadata", "Excluded", "Intent", "longest_fitting", "token_base"]
