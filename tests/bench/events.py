"""A million believable events, made quickly: about 500 bytes of Avro each, as a busy workspace would send."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from audit_schemas.codec import encode_record, frame
from audit_schemas.event import micros

TYPES = ("file.uploaded", "file.downloaded", "file.moved", "file.deleted", "file.shared", "file.viewed")
AGENTS = tuple(
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0"
    " Safari/537.36"
    for version in range(110, 142)
)
WORDS = (
    "plan",
    "invoice",
    "offer",
    "report",
    "contract",
    "photo",
    "scan",
    "letter",
    "draft",
    "final",
    "signed",
    "copy",
)


def values(count: int, *, seed: int = 7, days: int = 20) -> Iterator[tuple[str, bytes]]:
    """(workspace id, Kafka value), in order of time up to now. The same seed gives the same events but for the ids."""
    random_ = random.Random(seed)
    end = datetime.now(UTC)
    step = timedelta(days=days) / count
    people = [(f"usr_{number:05}", f"Person {number:05}", f"person{number}@example.com") for number in range(2000)]
    for number in range(count):
        record = _record(random_, people)
        record["occurred_at"] = micros(end - step * (count - number))
        record["producer"]["seq"] = number
        yield record["workspace_id"], frame(encode_record(record))


def _record(random_: random.Random, people: list[tuple[str, str, str]]) -> dict[str, Any]:
    identity, name, email = people[int(random_.paretovariate(1.1)) % len(people)]
    word = random_.choice(WORDS)
    return {
        "event_id": str(uuid.UUID(int=random_.getrandbits(128), version=4)),
        "workspace_id": f"ws_{int(random_.paretovariate(0.9)) % 200:04}",
        "category": "files",
        "event_type": random_.choice(TYPES),
        "label": "",
        "received_at": 0,
        "actor": {"type": "internal_user", "id": identity, "name": name, "email": email},
        "on_behalf_of": {"type": "", "id": "", "name": ""},
        "source": random_.choice(("web", "web", "web", "api", "automation")),
        "ip": f"203.0.{random_.randrange(114)}.{random_.randrange(256)}",
        "user_agent": random_.choice(AGENTS),
        "targets": [{"type": "file", "id": f"fil_{random_.getrandbits(40):010x}", "name": f"{word}.pdf"}],
        "outcome": "success",
        "outcome_reason": "",
        "changes": "[]",
        "metadata": f'{{"folder":"/{word}/{random_.choice(WORDS)}","size":{random_.randrange(10**7)}}}',
        "request_id": f"req_{random_.getrandbits(64):016x}",
        "session_id": f"ses_{random_.getrandbits(32):08x}",
        "app_id": "",
        "producer": {"service": "files", "instance": "0b6f1c52a3d94e58", "version": "2026.3.1", "seq": 0},
    }
