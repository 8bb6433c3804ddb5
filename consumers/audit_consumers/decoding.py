"""Reading datums in Python: the last of a container, all of a batch the engine rejected, and what goes to quarantine."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import fastavro

_UNREADABLE = (EOFError, ValueError, IndexError, OverflowError, MemoryError, struct.error)


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which number of which process of which service an event carries."""

    service: str
    instance: str
    seq: int


@lru_cache(maxsize=64)
def _parsed(schema: str) -> Any:
    return fastavro.parse_schema(json.loads(schema))


def datum_fault(schema: dict[str, Any], datum: bytes) -> str:
    """What is wrong with the bytes as a datum of `schema`, "" when nothing is.

    Text that is not UTF-8 is no fault here: it has a length, so the datum can be read, and the tables' own check sends
    it to quarantine wherever in a batch it stands.
    """
    source = io.BytesIO(datum)
    try:
        fastavro.schemaless_reader(source, _parsed(json.dumps(schema)), None)
    except UnicodeDecodeError:
        return ""
    except _UNREADABLE as error:
        return str(error) or type(error).__name__
    left = len(datum) - source.tell()
    return f"{left} bytes are left after the datum" if left else ""


def stamp_of(schema: dict[str, Any], datum: bytes) -> Stamp | None:
    """The producer's stamp in the bytes, None when they hold none that can be read.

    Everything else is skipped, not looked at: what is wrong with the event may be there.
    """
    wanted = [field for field in schema["fields"] if field["name"] == "producer"]
    try:
        record = fastavro.schemaless_reader(
            io.BytesIO(datum), _parsed(json.dumps(schema)), _parsed(json.dumps(schema | {"fields": wanted}))
        )
    except _UNREADABLE:
        return None
    if not isinstance(record, dict) or not isinstance(producer := record.get("producer"), dict):
        return None
    return Stamp(producer["service"], producer["instance"], producer["seq"])


__all__ = ["Stamp", "datum_fault", "stamp_of"]
