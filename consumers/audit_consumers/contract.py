"""Whether the tables are what the schema expects: checked at start, because a mismatch would lose values silently. Pure.

ClickHouse rescales no Avro timestamp, wraps integers that don't fit, and fills missing tuple elements with empty ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit_consumers.container import POSITION_FIELDS

LEAST_WINDOW = 1000
_TYPES: Mapping[str, str] = {
    "string": "String",
    "int": "Int32",
    "long": "Int64",
    "timestamp-millis": "DateTime64(3, 'UTC')",
    "timestamp-micros": "DateTime64(6, 'UTC')",
}


def column_type(schema: Any) -> str:
    """The column type that holds every value of an Avro type unchanged. Raises `ValueError` for types without one."""
    if isinstance(schema, str):
        if schema in _TYPES:
            return _TYPES[schema]
    elif schema.get("logicalType") in _TYPES:
        return _TYPES[schema["logicalType"]]
    elif schema.get("type") == "record":
        leaves = ", ".join(f"{field['name']} {column_type(field['type'])}" for field in schema["fields"])
        return f"Tuple({leaves})"
    elif schema.get("type") == "array":
        return f"Array({column_type(schema['items'])})"
    elif "logicalType" not in schema and isinstance(schema.get("type"), str):
        return column_type(schema["type"])
    raise ValueError(f"no column type holds the Avro type {schema}")


def faults(schema: Mapping[str, Any], columns: Mapping[str, str], windows: Mapping[str, int]) -> list[str]:
    """What disagrees between a writer schema, the columns of `audit_ingest` and the deduplication windows."""
    wanted = {field["name"]: column_type(field["type"]) for field in (*POSITION_FIELDS, *schema["fields"])}
    found = [
        f"audit_ingest.{name} is {_flat(columns[name])}, the schema needs {expected}"
        for name, expected in wanted.items()
        if name in columns and _flat(columns[name]) != expected
    ]
    found += [f"audit_ingest has no column {name}" for name in wanted if name not in columns]
    found += [f"the schema has no field for audit_ingest.{name}" for name in columns if name not in wanted]
    found += [
        f"{table} remembers only {window} tokens, at least {LEAST_WINDOW} are needed"
        for table, window in windows.items()
        if window < LEAST_WINDOW
    ]
    return found


def _flat(described: str) -> str:
    """DESCRIBE breaks long tuples over lines."""
    return " ".join(described.split()).replace("( ", "(").replace(" )", ")")


__all__ = ["LEAST_WINDOW", "column_type", "faults"]
