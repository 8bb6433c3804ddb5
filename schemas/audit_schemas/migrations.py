"""The numbered table definitions of `clickhouse/`, in order, each with the checksum that is recorded when applied."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_VIEW = re.compile(r"\bMATERIALIZED\s+VIEW\b|\bMODIFY\s+QUERY\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file; `statements` run in order in the target database."""

    number: int
    name: str
    checksum: str
    statements: tuple[str, ...]

    @property
    def touches_views(self) -> bool:
        """Whether it makes or changes a view, which changes what an insert's token matches."""
        return any(_VIEW.search(statement) for statement in self.statements)


def migrations() -> tuple[Migration, ...]:
    """All shipped migrations by number. Raises `ValueError` when two share one or a number is missing."""
    found = []
    for entry in (files("audit_schemas") / "clickhouse").iterdir():
        if match := _FILE.fullmatch(entry.name):
            text = entry.read_text("utf-8")
            found.append(
                Migration(
                    number=int(match[1]),
                    name=match[2],
                    checksum=hashlib.sha256(text.encode()).hexdigest(),
                    statements=split_statements(text),
                )
            )
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations must be numbered 1, 2, 3 …, found {[m.number for m in found]}")
    return tuple(found)


def split_statements(text: str) -> tuple[str, ...]:
    """The statements of a file: each ends with a semicolon at the end of a line; whole-line comments are left out."""
    parts = re.split(r";[ \t]*(?:\n|$)", _COMMENT.sub("", text))
    return tuple(part.strip() for part in parts if part.strip())


__all__ = ["Migration", "migrations", "split_statements"]
