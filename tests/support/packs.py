"""Makes packs as an export leaves them, by the description in docs/exports.md alone, without the code that makes exports."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import json
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit_query.exports.readme import readme
from tests.builders import NOON

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Row = tuple[str, str, str]
"""occurred_at, text, event_id."""
HEADER = ("Timestamp (UTC)", "Targets", "Event ID")


def pem(key: Ed25519PrivateKey) -> bytes:
    """The public half as a PEM file has it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def rows(number: int, text: str = "plan.pdf") -> list[Row]:
    """Events a second apart, the newest first."""
    return [
        (
            f"{NOON - timedelta(seconds=one):%Y-%m-%dT%H:%M:%S.%fZ}",
            f"{text} {one}",
            str(uuid.UUID(int=(one + 1) << 64 | 7)),
        )
        for one in range(number)
    ]


def content(format_: str, given: Sequence[Row], header: Sequence[str] = HEADER) -> bytes:
    """The bytes of a part before they are packed."""
    if format_ == "ndjson":
        lines = [{"event_id": id_, "occurred_at": at, "text": text} for at, text, id_ in given]
        return b"".join(json.dumps(one).encode() + b"\n" for one in lines)
    if format_ == "parquet":
        to = io.BytesIO()
        names = ["occurred_at", "text", "event_id"]
        pq.write_table(pa.table([[row[at] for row in given] for at in range(3)], names=names), to)
        return to.getvalue()
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(given)
    return text.getvalue().encode()


@dataclass
class Pack:
    """A pack in `folder`; change `manifest` and `sign` again for a service that says something else."""

    folder: Path
    format: str = "csv"
    parts: Sequence[Sequence[Row]] = field(default_factory=lambda: [rows(7)[:3], rows(7)[3:6], rows(7)[6:]])
    order: str = "desc"
    header: Sequence[str] = HEADER
    signer: Ed25519PrivateKey = field(default_factory=lambda: Ed25519PrivateKey.from_private_bytes(b"k" * 32))
    manifest: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        parts = [self._part(number, given) for number, given in enumerate(self.parts, 1)]
        self.manifest = self._manifest(parts) | self.manifest
        self.sign()

    def file(self, number: int) -> Path:
        """Where a part is."""
        return self.folder / str(self.manifest["parts"][number - 1]["file"])

    def trusted(self, folder: Path) -> Path:
        """The public key as a file."""
        path = folder / "key.pem"
        path.write_bytes(pem(self.signer))
        return path

    def sign(self, document: bytes | None = None) -> None:
        """Writes the manifest, or a document in its place, and its signature."""
        document = document or json.dumps(self.manifest, indent=2, ensure_ascii=False).encode() + b"\n"
        (self.folder / "manifest.json").write_bytes(document)
        with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError, AttributeError):  # no manifest
            (self.folder / "README.txt").write_text(readme(document))
        (self.folder / "manifest.json.sig").write_bytes(self.signer.sign(document))

    def put(self, number: int, data: bytes, plain: bytes | None = None) -> None:
        """Replaces a part by other bytes and signs a manifest that is right about their hashes and sizes."""
        self.file(number).write_bytes(data)
        plain = data if plain is None else plain
        part = self.manifest["parts"][number - 1]
        part |= {"bytes": len(data), "content_bytes": len(plain)}
        part |= {"sha256": hashlib.sha256(data).hexdigest(), "content_sha256": hashlib.sha256(plain).hexdigest()}
        self._total()
        self.sign()

    def _total(self) -> None:
        parts = self.manifest["parts"]
        values = {name: [one[name] for one in parts] for name in ("rows", "bytes", "content_bytes")}
        sums = {name: None if None in found else sum(found) for name, found in values.items()}
        self.manifest["totals"] = {"parts": len(parts), **sums}

    def _part(self, number: int, given: Sequence[Row]) -> dict[str, Any]:
        plain = content(self.format, given, self.header)
        packed = plain if self.format == "parquet" else gzip.compress(plain, 1, mtime=0)
        ending = {"csv": "csv.gz", "ndjson": "ndjson.gz", "parquet": "parquet"}[self.format]
        name = f"audit-log-w1-{uuid.UUID(int=9)}-part-{number:05}.{ending}"
        (self.folder / name).write_bytes(packed)
        ends = [{"occurred_at": at, "event_id": id_} for at, _, id_ in (*given[:1], *given[-1:])]
        return {
            "number": number,
            "file": name,
            "rows": len(given),
            "bytes": len(packed),
            "content_bytes": len(plain),
            "first": ends[0] if ends else None,
            "last": ends[-1] if ends else None,
            "sha256": hashlib.sha256(packed).hexdigest(),
            "content_sha256": hashlib.sha256(plain).hexdigest(),
        }

    def _manifest(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        csv_ = self.format == "csv"
        dialect = {"delimiter": ",", "quote": '"', "line_end": "\r\n", "encoding": "UTF-8", "header": True}
        output: dict[str, Any] = {
            "format": self.format,
            "columns": list(self.header),
            "order": self.order,
            "time_zone": "UTC",
        }
        output |= {"compression": "none" if self.format == "parquet" else "gzip", "dialect": dialect if csv_ else None}
        self.manifest = {"parts": parts}
        self._total()
        return {
            "format_version": 1,
            "export_id": str(uuid.UUID(int=9)),
            "workspace_id": "w1",
            "finished_at": "2026-03-14T13:00:00.000Z",
            "outcome": "done",
            "filter": {"words": "everything"},
            "output": output,
            "positions": [{"topic": "audit.files", "topic_id": "t1", "partition": 0, "end": 7}],
            "parts": parts,
            "totals": self.manifest["totals"],
            "signing_key": {"key_id": "k1", "algorithm": "Ed25519", "public_key_pem": pem(self.signer).decode()},
        }


__all__ = ["HEADER", "Pack", "Row", "content", "pem", "rows"]
