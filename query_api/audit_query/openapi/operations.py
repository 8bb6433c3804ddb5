"""The table of everything the API answers: a new address is one row here."""

from __future__ import annotations

import json
from typing import Final

from audit_infra.access import Scope
from audit_infra.http.problems import NOT_FOUND
from audit_query.openapi import shapes
from audit_query.openapi.administration import ADMINISTRATION
from audit_query.openapi.counts import COUNTS
from audit_query.openapi.exports import EXPORTS
from audit_query.openapi.operation import JSON, Answer, Operation
from audit_query.openapi.parameters import AFTER, EVENT_ID, EXPORT, FILTERS, PAGING
from audit_query.openapi.shapes import TEXT, record, reference
from audit_query.problems import NOT_RECORDED, PLAN_LIMITED, TOO_MANY_STREAMS

NDJSON, CSV_TYPE, EVENT_STREAM = "application/x-ndjson", "text/csv", "text/event-stream"
PARQUET = "application/vnd.apache.parquet"
_STREAM: Final = (
    "id: eNqrVkrO…\nevent: audit_event\ndata: "
    + json.dumps({name: shapes.EXAMPLE_EVENT[name] for name in ("event_id", "occurred_at", "event_type")})
    + "\n\n"
)
OPERATIONS: Final = (
    Operation(
        "/v1/events",
        "listEvents",
        "Events",
        "A page of events, newest first.",
        Scope.READ,
        (
            Answer(JSON, reference("Page"), shapes.EXAMPLE_PAGE),
            Answer(NDJSON, reference("Event"), shapes.EXAMPLE_EVENT),
        ),
        (*FILTERS, *PAGING),
        description="With `Accept: application/x-ndjson` the events stand one per line, and what a page says beside them"
        " is in headers: `Link`, `Audit-Complete-Through`, `Audit-Preview`.",
        headers=("Link", "Audit-Complete-Through", "Audit-Preview"),
        sample="event=auth.login_failed&since=24h",
    ),
    Operation(
        "/v1/events/stream",
        "followEvents",
        "Events",
        "Events as they arrive, as server-sent events.",
        Scope.READ,
        (Answer(EVENT_STREAM, TEXT, _STREAM),),
        (*FILTERS, AFTER),
        description="From now on, or behind a position; late events too, each once per connection. `audit_event` holds an"
        " event, `freshness` what a page says beside them, `problem` why the stream ends.",
        problems=(TOO_MANY_STREAMS,),
        sample="category=authentication",
    ),
    Operation(
        "/v1/events/{event_id}",
        "getEvent",
        "Events",
        "One event.",
        Scope.READ,
        (
            Answer(
                JSON,
                record(data=reference("Event"), complete_through=reference("CompleteThrough")),
                {"data": shapes.EXAMPLE_EVENT, "complete_through": shapes.EXAMPLE_THROUGH},
            ),
        ),
        (EVENT_ID,),
        problems=(NOT_FOUND,),
    ),
    *COUNTS,
    Operation(
        "/v1/catalogue",
        "getCatalogue",
        "Catalogue",
        "All native event types and the categories.",
        Scope.READ,
        (
            Answer(
                JSON,
                reference("Catalogue"),
                {
                    "data": {
                        "categories": [{"name": "files", "label": "Files"}],
                        "types": [
                            {
                                "name": "file.downloaded",
                                "label": "File Downloaded",
                                "category": "files",
                                "since": "1.0",
                                "targets": ["file"],
                                "changes_required": False,
                                "ocsf": {"class": 1001, "activity": 14},
                            }
                        ],
                    }
                },
            ),
        ),
        description="The same until the service is upgraded: send `If-None-Match` with the `ETag` you have.",
        headers=("ETag", "Cache-Control"),
    ),
    Operation(
        "/v1/freshness",
        "getFreshness",
        "Operations",
        "Up to when the log is complete, how long storing takes, and the slowest partition.",
        Scope.READ,
        (Answer(JSON, reference("Freshness"), shapes.EXAMPLE_FRESHNESS),),
    ),
    Operation(
        "/v1/export",
        "exportEvents",
        "Exports",
        "All matching events as CSV, NDJSON or Parquet, streamed.",
        Scope.EXPORT,
        (
            Answer(CSV_TYPE, TEXT, "Timestamp,Timestamp (UTC),Actor,…\r\n2026-03-14T13:00:00.000000+01:00,…\r\n"),
            Answer(NDJSON, reference("ExportedEvent"), shapes.EXAMPLE_LINE),
            Answer(PARQUET, {"type": "string", "format": "binary"}, "PAR1…"),
        ),
        (*FILTERS, *EXPORT),
        description="A stream that breaks off ends without its last chunk: take it for complete only when your client"
        " reports no error.",
        problems=(PLAN_LIMITED, NOT_RECORDED),
        headers=("Content-Disposition", "Audit-Complete-Through", "X-Export-Id"),
        sample="format=csv&category=files&since=7d&tz=Europe/Berlin",
    ),
    *EXPORTS,
    Operation(
        "/v1/gaps",
        "listGaps",
        "Operations",
        "The events that producers numbered but that are stored nowhere, of all workspaces.",
        Scope.ADMIN,
        (
            Answer(
                JSON,
                reference("Gaps"),
                {
                    "data": [
                        {
                            "service": "billing",
                            "instance": "0192e0a1-0000-7000-8000-000000000000",
                            "first_seq": 41,
                            "last_seq": 43,
                            "events": 3,
                            "since": "2026-03-14T12:00:00.000Z",
                        }
                    ],
                    "total": {"gaps": 1, "events": 3},
                    "unwatched": [],
                    "checked_at": "2026-03-14T12:02:10.000Z",
                },
            ),
        ),
    ),
    *ADMINISTRATION,
)
"""By path and method, in the order the reference shows them."""
PATHS: Final = tuple(dict.fromkeys(one.path for one in OPERATIONS))

__all__ = ["CSV_TYPE", "EVENT_STREAM", "NDJSON", "OPERATIONS", "PARQUET", "PATHS"]
