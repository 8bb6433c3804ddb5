"""JSON Schemas for the metadata of custom types: which are taken, and what they find.

Draft 2020-12. Schemas come from callers, so whatever would reach out or run long is refused: references, and patterns
that need backtracking.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import jsonschema_rs

from audit_infra.http.problems import Fault
from audit_schemas.errors import Problem

MAX_SCHEMA_BYTES: Final = 16_384
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_MOST: Final = 20
_LONGEST: Final = 200


class MetadataSchema:
    """A compiled schema. Thread-safe."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises `ValueError` for schemas that are not valid; `faults_of` says more."""
        self._validator = jsonschema_rs.Draft202012Validator(
            dict(schema), offline=True, pattern_options=jsonschema_rs.RegexOptions(), validate_formats=True
        )

    def problems(self, metadata: Mapping[str, Any]) -> list[Problem]:
        """What does not match, with pointers under /metadata."""
        if self._validator.is_valid(dict(metadata)):
            return []
        found = []
        for error in self._validator.iter_errors(dict(metadata)):
            path = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in error.instance_path)
            found.append(Problem(f"/metadata{path}", "schema", error.message[:_LONGEST]))
            if len(found) == _MOST:
                break
        return found


def faults_of(schema: Any) -> list[Fault]:
    """What is wrong with a schema, with pointers under /schema."""
    if not isinstance(schema, dict):
        return [_fault("/schema", "wrong_type", "must be a JSON Schema object")]
    if len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
        return [_fault("/schema", "too_large", f"a schema has at most {MAX_SCHEMA_BYTES} bytes")]
    if references := sorted(_references(schema)):
        return [_fault("/schema", "reference", f"{', '.join(references)}: references are not taken")]
    try:
        MetadataSchema(schema)
    except jsonschema_rs.ValidationError as error:
        path = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in error.instance_path)
        return [_fault(f"/schema{path}", "schema", error.message[:_LONGEST])]
    except ValueError as error:
        return [_fault("/schema", "schema", str(error)[:_LONGEST])]
    return []


def _references(value: Any) -> set[str]:
    found: set[str] = set()
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            found.update(name for name in _REFERENCES if name in current)
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)
    return found


def _fault(pointer: str, code: str, message: str) -> Fault:
    return Fault(pointer, code, message, place="body")


__all__ = ["MAX_SCHEMA_BYTES", "MetadataSchema", "faults_of"]
