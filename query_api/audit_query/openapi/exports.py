"""The rows of the table for export jobs and signing keys."""

from __future__ import annotations

from typing import Any, Final

from audit_infra.access import Scope
from audit_infra.http.problems import NOT_FOUND
from audit_query.exports.request import KEY, LONGEST_KEY, SHORTEST_KEY, NewExport
from audit_query.exports.service import MOST
from audit_query.openapi.operation import JSON, Answer, Operation
from audit_query.openapi.parameters import Parameter
from audit_query.openapi.shapes import BOOLEAN, COUNT, INSTANT, INSTANT_OR_NULL, TEXT, TEXT_OR_NULL, record, several
from audit_query.problems import (
    EXPORT_EXPIRED,
    KEY_REUSED,
    NOT_RECORDED,
    PLAN_LIMITED,
    RANGE_NOT_SATISFIABLE,
    TOO_MANY_EXPORTS,
    WRONG_STATE,
)

_EXPORT: Final = "0c9b4b6c7d2f4a5e8f1a2b3c4d5e6f70"
_SHA256: Final = "5f8f04f6a3a892aaabbddb6cf273894493773960d4a325b105fee46eef4304f1"
_FILE: Final = f"audit-log-acme-{_EXPORT}-part-00001.csv.gz"
_ID: Final = Parameter(
    "export_id", "The export's id.", _EXPORT, {"type": "string", "minLength": 1, "maxLength": 64}, place="path"
)
_NUMBER: Final = Parameter("number", "The part's number, from 1 on.", 1, {"type": "integer", "minimum": 1}, "path")
_KEY: Final = Parameter(
    KEY,
    "Any text that you have not used for another request: repeated with the same one, a request makes no second export.",
    "9f0c6f0e-monthly-2026-03",
    {"type": "string", "minLength": SHORTEST_KEY, "maxLength": LONGEST_KEY, "pattern": "^[ -~]+$"},
    place="header",
)
_LIST: Final = (
    Parameter("limit", "Jobs in one answer.", 20, {"type": "integer", "minimum": 1, "maximum": MOST, "default": 20}),
    Parameter("after", "Id of the job before the first one; `next` carries it.", _EXPORT, {"type": "string"}),
)
_JOB: Final = record(
    "An export job.",
    id=TEXT,
    state={"enum": ["queued", "running", "done", "failed", "cancelled", "expired"]},
    format={"enum": ["csv", "ndjson", "parquet"]},
    rows_done=COUNT,
    rows_total={"type": ["integer", "null"], "minimum": 0, "description": "Null until they are counted."},
    percent={"type": ["number", "null"], "minimum": 0, "description": "Of the rows; null until they are counted."},
    parts=several(record("A finished part.", number=COUNT, file=TEXT, rows=COUNT, bytes=COUNT, sha256=TEXT)),
    requested_at=INSTANT,
    started_at=INSTANT_OR_NULL,
    finished_at=INSTANT_OR_NULL,
    expires_at={**INSTANT_OR_NULL, "description": "When its files are deleted."},
    error={"description": "Why it failed.", "anyOf": [record(type=TEXT, detail=TEXT), {"type": "null"}]},
    filter={"type": "object", "additionalProperties": several(TEXT), "description": "As it was sent."},
    columns=several(TEXT),
    tz=TEXT,
    raw=BOOLEAN,
    order={"enum": ["desc", "asc"]},
    attempts=COUNT,
)
_JOB_EXAMPLE: Final[dict[str, Any]] = {
    "id": _EXPORT,
    "state": "running",
    "format": "csv",
    "rows_done": 1_000_000,
    "rows_total": 2_400_000,
    "percent": 41.7,
    "parts": [{"number": 1, "file": _FILE, "rows": 1_000_000, "bytes": 87_316_224, "sha256": _SHA256}],
    "requested_at": "2026-03-14T12:00:00.000Z",
    "started_at": "2026-03-14T12:00:01.000Z",
    "finished_at": None,
    "expires_at": None,
    "error": None,
    "filter": {"category": ["files"], "since": ["2025-01-01T00:00:00Z"]},
    "columns": ["timestamp", "actor", "event"],
    "tz": "Europe/Berlin",
    "raw": False,
    "order": "desc",
    "attempts": 1,
}
_ONE: Final = (Answer(JSON, _JOB, _JOB_EXAMPLE),)
_BODY: Final = {
    "format": "csv",
    "filter": {"category": ["files"], "since": ["2025-01-01T00:00:00Z"]},
    "tz": "Europe/Berlin",
}
_MANIFEST: Final = record(
    "What the export holds, how it came about, and what may be missing; see docs/exports.md.",
    format_version=COUNT,
    export_id=TEXT,
    workspace_id=TEXT,
    outcome=TEXT,
)
_MANIFEST_EXAMPLE: Final = {"format_version": 1, "export_id": _EXPORT, "workspace_id": "acme", "outcome": "done"}
_BINARY: Final = {"type": "string", "contentEncoding": "binary"}
_README: Final = "AUDIT LOG EXPORT\n\nWorkspace:  acme\n…\n"

EXPORTS: Final = (
    Operation(
        "/v1/exports",
        "listExports",
        "Exports",
        "Export jobs, newest first.",
        Scope.EXPORT,
        (Answer(JSON, record(data=several(_JOB), next=TEXT_OR_NULL), {"data": [_JOB_EXAMPLE], "next": None}),),
        _LIST,
        problems=(NOT_FOUND,),
    ),
    Operation(
        "/v1/exports",
        "createExport",
        "Exports",
        "Asks for an export of any size, which a worker makes.",
        Scope.EXPORT,
        _ONE,
        (_KEY,),
        description="`filter` takes the filter parameters, each with a list of values. The state of the log is fixed when"
        " the job starts: what arrives later is not in it.",
        problems=(PLAN_LIMITED, KEY_REUSED, TOO_MANY_EXPORTS, NOT_RECORDED),
        headers=("Location",),
        method="post",
        status=202,
        body=(NewExport.model_json_schema(), _BODY),
    ),
    Operation(
        "/v1/exports/{export_id}",
        "getExport",
        "Exports",
        "One job: its state, progress and finished parts.",
        Scope.EXPORT,
        _ONE,
        (_ID,),
        problems=(NOT_FOUND,),
    ),
    Operation(
        "/v1/exports/{export_id}/cancel",
        "cancelExport",
        "Exports",
        "Cancels a job; what is finished of it can be downloaded.",
        Scope.EXPORT,
        _ONE,
        (_ID,),
        problems=(NOT_FOUND, WRONG_STATE, NOT_RECORDED),
        method="post",
    ),
    Operation(
        "/v1/exports/{export_id}/retry",
        "retryExport",
        "Exports",
        "Queues a failed or cancelled job again; its finished parts are kept.",
        Scope.EXPORT,
        _ONE,
        (_ID,),
        problems=(NOT_FOUND, PLAN_LIMITED, WRONG_STATE, TOO_MANY_EXPORTS, NOT_RECORDED),
        headers=("Location",),
        method="post",
        status=202,
    ),
    Operation(
        "/v1/exports/{export_id}/parts/{number}",
        "downloadPart",
        "Exports",
        "A finished part, or a range of it.",
        Scope.EXPORT,
        (
            Answer("application/gzip", _BINARY, "…"),
            Answer("application/vnd.apache.parquet", _BINARY, "…"),
        ),
        (_ID, _NUMBER),
        description="CSV and NDJSON are gzip files. `Range`, `If-Range` and `If-None-Match` are taken as RFC 9110 says;"
        " several ranges at once get the whole file. An export with personal data in the clear needs `audit:pii` too.",
        problems=(PLAN_LIMITED, NOT_FOUND, EXPORT_EXPIRED, RANGE_NOT_SATISFIABLE),
        headers=("Content-Disposition", "ETag", "Repr-Digest", "Accept-Ranges", "Content-Range"),
    ),
    Operation(
        "/v1/exports/{export_id}/manifest",
        "getManifest",
        "Exports",
        "The manifest of a job or a stream that has ended, exactly as it was signed.",
        Scope.EXPORT,
        (Answer(JSON, _MANIFEST, _MANIFEST_EXAMPLE),),
        (_ID,),
        problems=(NOT_FOUND, WRONG_STATE),
    ),
    Operation(
        "/v1/exports/{export_id}/manifest.sig",
        "getSignature",
        "Exports",
        "The signature over the manifest's bytes: raw Ed25519.",
        Scope.EXPORT,
        (Answer("application/octet-stream", _BINARY, "64 bytes"),),
        (_ID,),
        problems=(NOT_FOUND, WRONG_STATE),
    ),
    Operation(
        "/v1/exports/{export_id}/readme",
        "getReadme",
        "Exports",
        "The text that explains the pack to whoever opens it.",
        Scope.EXPORT,
        (Answer("text/plain", TEXT, _README),),
        (_ID,),
        problems=(NOT_FOUND, WRONG_STATE),
    ),
    Operation(
        "/v1/signing-keys",
        "listSigningKeys",
        "Exports",
        "The public keys that manifests were ever signed with, newest first.",
        Scope.EXPORT,
        (
            Answer(
                JSON,
                record(
                    data=several(
                        record(
                            key_id=TEXT,
                            algorithm=TEXT,
                            public_key_pem=TEXT,
                            created_at=INSTANT,
                            retired_at=INSTANT_OR_NULL,
                        )
                    )
                ),
                {
                    "data": [
                        {
                            "key_id": "2f0a9c1d7b3e4f58",
                            "algorithm": "Ed25519",
                            "public_key_pem": "-----BEGIN PUBLIC KEY-----\n…\n-----END PUBLIC KEY-----\n",
                            "created_at": "2026-03-01T00:00:00.000Z",
                            "retired_at": None,
                        }
                    ]
                },
            ),
        ),
    ),
)
"""In the order the reference shows them."""

__all__ = ["EXPORTS"]
