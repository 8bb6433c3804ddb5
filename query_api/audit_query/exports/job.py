"""What an export is: who asked for what, what was fixed when it started, its parts and its attempts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pydantic import TypeAdapter

from audit_infra.access import Principal
from audit_query.exports.form import Form, Format
from audit_query.exports.part import Key, Positions
from audit_query.filters import Filter
from audit_query.self_audit_events import actor_of

Kind = Literal["job", "stream"]
State = Literal["queued", "running", "done", "failed", "cancelled", "expired", "aborted"]
"""`aborted` is of streams alone, `queued`, `failed`, `cancelled` and `expired` of jobs alone."""
Ended = Literal["done", "interrupted", "failed", "cancelled", "aborted"]
ENDED: Final[frozenset[State]] = frozenset({"done", "failed", "cancelled", "expired", "aborted"})
GZIPPED: Final[frozenset[Format]] = frozenset({"csv", "ndjson"})
"""The formats whose parts are packed; Parquet is packed inside."""


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asked, as an event's actor has it, and the visible beginning of the key, empty for people."""

    type: str
    id: str
    name: str
    credential_prefix: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for. `sent` is the filter as it came, `filter` what it meant then: spans are resolved.

    `pii`: whether personal data is in the clear, by the scopes of whoever asked. `file` is what a stream was called.
    """

    requester: Requester
    plan: str
    pii: bool
    form: Form
    sent: tuple[tuple[str, tuple[str, ...]], ...]
    filter: Filter
    file: str = ""


@dataclass(frozen=True, slots=True)
class Versions:
    """What the bytes depend on beside the events. `schema` and `catalogue` are SHA-256 in hex; `tzdata` is the engine's."""

    software: str
    schema: str
    catalogue: str
    tzdata: str


@dataclass(frozen=True, slots=True)
class Fixed:
    """What holds for every part, whenever it is made: decided once, when the export starts.

    `rows` is how many there are; `quarantined`, `holes` and `missing` are what the range lacks, as known then. Of streams
    these are None: looking would keep the first byte waiting.
    """

    positions: Positions
    complete_through: str | None
    versions: Versions
    rows: int | None
    quarantined: int | None
    holes: int | None
    missing: int | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """Work on an export without a break; `ended` is None while it goes on."""

    number: int
    started_at: datetime
    ended_at: datetime | None = None
    ended: Ended | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Error:
    """Why an export failed. `type` is stable."""

    type: str
    detail: str


@dataclass(frozen=True, slots=True)
class Part:
    """A finished file. `stored` is its name in the export's folder; `next` is where the part behind it begins.

    `sha256` and `bytes` are of the file, the others of its unpacked content. `collapsed`: copies that were left out.
    `rows` is None for a stream that broke off where nobody can tell how many there were.
    """

    number: int
    stored: str
    rows: int | None
    bytes: int
    content_bytes: int
    sha256: str
    content_sha256: str
    collapsed: int
    guarded: int
    first: Key | None
    last: Key | None
    next: Key | None


@dataclass(frozen=True, slots=True)
class Export:
    """One export as it is known now."""

    id: str
    workspace_id: str
    kind: Kind
    state: State
    asked: Asked
    requested_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    fixed: Fixed | None = None
    attempts: tuple[Attempt, ...] = ()
    error: Error | None = None
    parts: tuple[Part, ...] = ()
    signed: bool = False

    @property
    def rows_done(self) -> int:
        """The rows of its finished parts."""
        return sum(part.rows or 0 for part in self.parts)

    @property
    def complete(self) -> bool:
        """Whether the last part is there."""
        return bool(self.parts) and self.parts[-1].next is None

    def file(self, number: int) -> str:
        """What a part is called for people."""
        if self.kind == "stream":
            return self.asked.file
        form = self.asked.form.format
        packed = ".gz" if form in GZIPPED else ""
        return f"audit-log-{safe(self.workspace_id)}-{self.id}-part-{number:05}.{form}{packed}"


def requester_of(principal: Principal) -> Requester:
    """Who asks, as a manifest says it."""
    actor = actor_of(principal)
    return Requester(actor["type"], actor["id"], actor["name"], principal.credential_prefix)


def safe(workspace_id: str) -> str:
    """A workspace's id as part of a file's name."""
    return "".join(character if character.isalnum() or character in "-_." else "-" for character in workspace_id)


ASKED: Final = TypeAdapter(Asked)
FIXED: Final = TypeAdapter(Fixed)
ATTEMPTS: Final = TypeAdapter(tuple[Attempt, ...])
ERROR: Final = TypeAdapter(Error)

__all__ = [
    "ASKED",
    "ATTEMPTS",
    "ENDED",
    "ERROR",
    "FIXED",
    "GZIPPED",
    "Asked",
    "Attempt",
    "Ended",
    "Error",
    "Export",
    "Fixed",
    "Kind",
    "Part",
    "Requester",
    "State",
    "Versions",
    "requester_of",
    "safe",
]
