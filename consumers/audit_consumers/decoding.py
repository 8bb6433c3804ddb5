"""Reading datums in Python: only the last of a container, and all of a batch the engine rejected."""

from __future__ import annotations

import io
import json
import struct
from functools import lru_cache
from typing import Any

import fastavro


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
    except (EOFError, ValueError, IndexError, OverflowError, MemoryError, struct.error) as error:
        return str(error) or type(error).__name__
    left = len(datum) - source.tell()
    return f"{left} bytes are left after the datum" if left else ""


__all__ = ["datum_fault"]
