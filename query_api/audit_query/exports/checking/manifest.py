"""What a manifest says, read so that a hostile one does no harm: strict JSON, a bound on size, names without paths."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NoReturn
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

VERSION = 1
MOST_BYTES = 16 * 1024 * 1024
"""Some 25 000 parts of a million rows each."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,254}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")

Order = tuple[int, int, int]
"""Where an event stands: microseconds, then the two halves of its id as ClickHouse compares UUIDs, the second first."""


class Refused(ValueError):
    """The bytes are no manifest; `faults` says why, each in a sentence."""

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("; ".join(faults))


def safe_name(name: str) -> str:
    """The name, which is that of a file in one folder. Raises ValueError for anything that might lead elsewhere."""
    if not _NAME.fullmatch(name):
        raise ValueError("must be a plain file name")
    return name


def order(occurred_at: str, event_id: str) -> Order:
    """The place of an event among others. Raises ValueError for what is no RFC 3339 instant in UTC and no UUID."""
    if not _INSTANT.fullmatch(occurred_at):
        raise ValueError("must be an instant such as 2026-03-14T12:00:00.000000Z")
    since = datetime.fromisoformat(occurred_at) - _EPOCH
    number = UUID(event_id).int
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds, number & (2**64 - 1), number >> 64


Count = Annotated[int, Field(ge=0, lt=2**63)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, AfterValidator(safe_name)]


class _Read(BaseModel):
    # Later software of the same version may say more.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Key(_Read):
    """An event's place in the order of the export."""

    occurred_at: str
    event_id: str

    def model_post_init(self, _: object, /) -> None:
        """Refuses what has no place."""
        order(self.occurred_at, self.event_id)

    @property
    def order(self) -> Order:
        """For comparing."""
        return order(self.occurred_at, self.event_id)


class Part(_Read):
    """One file of the export."""

    number: Count
    file: FileName
    rows: Count | None
    """None for a stream that broke off where nobody could tell."""
    bytes: Count
    content_bytes: Count
    first: Key | None
    last: Key | None
    sha256: Sha256
    content_sha256: Sha256


class Dialect(_Read):
    """How a CSV is written."""

    delimiter: Literal[","]
    quote: Literal['"']
    line_end: Literal["\r\n"]
    encoding: Literal["UTF-8"]
    header: bool


class Output(_Read):
    """What the parts are made of."""

    format: Literal["csv", "ndjson", "parquet"]
    columns: tuple[str, ...] = Field(strict=False, fail_fast=True)
    order: Literal["desc", "asc"]
    compression: Literal["gzip", "none"]
    dialect: Dialect | None


class Totals(_Read):
    """The sums over all parts."""

    parts: Count
    rows: Count | None
    bytes: Count
    content_bytes: Count


class SigningKey(_Read):
    """Who says to have signed."""

    key_id: str
    algorithm: Literal["Ed25519"]
    public_key_pem: str


class Filter(_Read):
    """What was asked for."""

    words: str


class Manifest(_Read):
    """What is needed of a manifest to check a pack."""

    format_version: Literal[1]
    export_id: str
    workspace_id: str
    finished_at: str
    outcome: Literal["done", "failed", "cancelled", "aborted"]
    filter: Filter
    output: Output
    parts: tuple[Part, ...] = Field(strict=False, fail_fast=True)  # a million wrong ones are one reason
    totals: Totals
    signing_key: SigningKey
    positions: tuple[Any, ...] = Field(strict=False)

    @property
    def stream(self) -> bool:
        """Whether it is of a stream, which is bounded by no positions and names no keys."""
        return not self.positions


def read(document: bytes) -> Manifest:
    """The manifest that these bytes are. Raises `Refused` with everything that is wrong."""
    try:
        parsed = strict_json(document.decode())
    except UnicodeDecodeError:
        raise Refused("is not UTF-8") from None
    except RecursionError:
        raise Refused("is nested too deeply") from None
    except ValueError as error:
        raise Refused(f"is not JSON: {error}") from None
    if isinstance(parsed, dict) and parsed.get("format_version") != VERSION:
        raise Refused(f"has the format version {str(parsed.get('format_version'))[:20]}; this software knows {VERSION}")
    try:
        return Manifest.model_validate(parsed)
    except ValidationError as error:
        raise Refused(*(f"{_place(one['loc'])}: {one['msg']}" for one in error.errors())) from None


def strict_json(text: str) -> Any:
    """What the text says, if all readers of JSON would agree about it. Raises ValueError and RecursionError."""
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {name[:80]!r} occurs twice in one object")
        found[name] = value
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number of JSON")


def _place(path: tuple[int | str, ...]) -> str:
    return "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path).lstrip(".") or "the document"


__all__ = [
    "MOST_BYTES",
    "Key",
    "Manifest",
    "Order",
    "Output",
    "Part",
    "Refused",
    "order",
    "read",
    "safe_name",
    "strict_json",
]
