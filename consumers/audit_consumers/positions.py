"""Where records are: logs, offsets and ranges of offsets. Pure values.

Every Kafka record is named by (topic id, partition, offset). The id, not the topic's name: a topic that is deleted and
created again is another log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class TopicPartition:
    """A partition as the consumer group knows it, by topic name."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


@dataclass(frozen=True, slots=True, order=True)
class Log:
    """One partition of one incarnation of a topic: what offsets count in."""

    topic: str
    topic_id: str
    partition: int

    @property
    def topic_partition(self) -> TopicPartition:
        """The partition by name, without the topic's id."""
        return TopicPartition(self.topic, self.partition)

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.topic_id}"


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """The offsets from `first` to `last`, both included; never empty."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"{self.first}-{self.last} is not a range")

    def __contains__(self, offset: int) -> bool:
        return self.first <= offset <= self.last

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}" if self.last > self.first else str(self.first)


def ranges_of(offsets: Iterable[int]) -> list[Range]:
    """The fewest ranges that hold exactly these offsets."""
    found: list[Range] = []
    for offset in sorted(set(offsets)):
        if found and found[-1].last + 1 == offset:
            found[-1] = Range(found[-1].first, offset)
        else:
            found.append(Range(offset, offset))
    return found


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The fewest ranges that cover what these cover."""
    found: list[Range] = []
    for current in sorted(ranges):
        if found and current.first <= found[-1].last + 1:
            found[-1] = Range(found[-1].first, max(found[-1].last, current.last))
        else:
            found.append(current)
    return found


def contiguous_end(covered: Iterable[Range], start: int) -> int:
    """The first offset from `start` on that is not covered."""
    for current in merged(covered):
        if current.first > start:
            break
        start = max(start, current.last + 1)
    return start


def holes(covered: Iterable[Range], whole: Range) -> Iterator[Range]:
    """The parts of `whole` that are not covered."""
    at = whole.first
    for current in merged(covered):
        if current.last < at:
            continue
        if current.first > whole.last:
            break
        if current.first > at:
            yield Range(at, current.first - 1)
        at = current.last + 1
    if at <= whole.last:
        yield Range(at, whole.last)


__all__ = ["Log", "Range", "TopicPartition", "contiguous_end", "holes", "merged", "ranges_of"]
