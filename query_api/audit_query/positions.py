"""Where a stream of events stands: a position per topic id and partition, as a signed token and as SQL. Pure."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from audit_infra.access import Signer
from audit_infra.http.problems import Fault, invalid
from audit_query.filters import Filter
from audit_query.sql import COLUMNS, Query, where


class Log(NamedTuple):
    """One partition of one incarnation of a topic: a topic that is made again has another id."""

    topic_id: str
    partition: int


Positions = Mapping[Log, int]
"""The offset behind the last one passed, per log; logs that are not in it are read from their start."""


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of one log: first ≤ offset < end."""

    log: Log
    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first


_BOUNDS = ("firsts", "ends")


def token(positions: Positions, since_ms: Positions, signer: Signer, workspace_id: str, fingerprint: str) -> str:
    """The positions as text that only this service can make, for this workspace and filter.

    With them goes since when, in ms, what lies behind each can have been stored: 0 where that is not known.
    """
    topics = defaultdict(list)
    for log, offset in positions.items():
        topics[log.topic_id].append([log.partition, offset, since_ms.get(log, 0)])
    body = json.dumps([workspace_id, fingerprint, topics], separators=(",", ":"))
    return signer.sign(zlib.compress(body.encode()))


def read(
    text: str, signer: Signer, workspace_id: str, fingerprint: str, *, name: str, place: str
) -> tuple[dict[Log, int], dict[Log, int]]:
    """The positions of a token, and since when; it was given as `name` in `place`.

    Raises a 400 `ProblemError` for one that was not made here, or for another workspace or filter.
    """
    try:
        workspace, filter_, topics = json.loads(zlib.decompress(signer.verify(text)))
    except (ValueError, zlib.error):
        raise invalid((Fault(name, "not_ours", "is not a position of this service", place=place),)) from None
    if workspace != workspace_id or filter_ != fingerprint:
        message = "belongs to another filter; begin without it"
        raise invalid((Fault(name, "other_filter", message, place=place),))
    found = {Log(topic, partition): (at, since) for topic, logs in topics.items() for partition, at, since in logs}
    return {log: at for log, (at, _) in found.items()}, {log: since for log, (_, since) in found.items()}


def shares(spans: Sequence[Span], most: int) -> list[Span]:
    """The beginnings of the spans, `most` offsets in all (and one of each at least), in proportion to their lengths.

    So partitions that are read up to now move on side by side.
    """
    total = sum(map(len, spans))
    if total <= most:
        return list(spans)
    return [Span(one.log, one.first, one.first + max(1, len(one) * most // total)) for one in spans]


def arrived(workspace_id: str, filter_: Filter, spans: Sequence[Span], since_ms: int, rows: int) -> Query:
    """The columns of a page for the matching events in these spans, each log in order of offset.

    No row of the spans was stored before `since_ms`; saying so is what makes the question cheap. One look-up per row
    tells its span: a condition for each span would cost more than it finds.
    """
    base = where(workspace_id, filter_)
    log = "concat(kafka_topic_id, ':', toString(kafka_partition))"
    first, end = (f"transform({log}, {{logs:Array(String)}}, {{{name}:Array(Int64)}}, toInt64(0))" for name in _BOUNDS)
    return Query(
        f"SELECT {', '.join(COLUMNS)} FROM audit_events WHERE {base.sql}"
        " AND ingested_at >= fromUnixTimestamp64Milli({ingested:Int64}, 'UTC')"
        f" AND kafka_offset >= {first} AND kafka_offset < {end}"
        " ORDER BY kafka_topic_id, kafka_partition, kafka_offset LIMIT {rows:UInt32}",
        {
            **base.values,
            "ingested": since_ms,
            "logs": [f"{one.log.topic_id}:{one.log.partition}" for one in spans],
            "firsts": [one.first for one in spans],
            "ends": [one.end for one in spans],
            "rows": rows,
        },
    )


def known_logs(topics: Sequence[str]) -> Query:
    """(topic id, partition, end) of every log a worker has told about; it is ledgered up to `end` without a hole."""
    return Query(
        "SELECT kafka_topic_id, kafka_partition, max(end_offset) FROM audit_progress"
        " WHERE kafka_topic IN {topics:Array(String)} GROUP BY kafka_topic_id, kafka_partition",
        {"topics": list(topics)},
    )


def ledgered(ends: Positions) -> Query:
    """(topic id, partition, last, written at in ms) of the ledger row that begins at each of these ends, if it is there."""
    return Query(
        "SELECT kafka_topic_id, kafka_partition, last, toUnixTimestamp64Milli(written_at) FROM audit_ledger"
        " WHERE (kafka_topic_id, kafka_partition, first) IN {next:Array(Tuple(String, Int32, Int64))}",
        {"next": [(log.topic_id, log.partition, end) for log, end in ends.items()]},
    )


__all__ = ["Log", "Positions", "Span", "arrived", "known_logs", "ledgered", "read", "shares", "token"]
