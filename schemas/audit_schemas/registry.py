"""Which Avro schema a schema id names."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

import fastavro

from audit_schemas.errors import UnknownSchema

CURRENT_SCHEMA_ID = 1
"""The id new events are written with: in the static registry the id is the schema's version."""


class Registry(Protocol):
    """Answers what schema an id stands for.

    An id means the same schema for ever, so answers may be kept. Calls may block on the network and are thread-safe.
    `UnknownSchema` is raised only on a positive answer that there is none; when the registry can't be reached it is
    `RegistryUnavailable`, after which nothing may be concluded about the id.
    """

    def schema(self, schema_id: int) -> dict[str, Any]:
        """The writer schema as a JSON object."""
        ...


class StaticRegistry:
    """The schemas shipped with this package; never blocks."""

    def schema(self, schema_id: int) -> dict[str, Any]:
        """See `Registry`."""
        try:
            return _shipped()[schema_id]
        except KeyError:
            raise UnknownSchema(schema_id) from None


@cache
def _shipped() -> dict[int, dict[str, Any]]:
    found = {}
    for entry in (files("audit_schemas") / "avro").iterdir():
        if entry.name.endswith(".avsc"):
            version = int(entry.name.removesuffix(".avsc").rpartition(".v")[2])
            found[version] = json.loads(entry.read_text("utf-8"))
    return found


@cache
def parsed_schema(schema_id: int) -> Any:
    """A shipped schema as fastavro wants it, without its logical types: instants stay whole microseconds."""
    return fastavro.parse_schema(_without_logical_types(StaticRegistry().schema(schema_id)))


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        if "logicalType" in schema:
            return schema["type"]
        return {key: _without_logical_types(value) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_without_logical_types(part) for part in schema]
    return schema


__all__ = ["CURRENT_SCHEMA_ID", "Registry", "StaticRegistry", "parsed_schema"]
