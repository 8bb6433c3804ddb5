"""The API's description: OpenAPI 3.1, and a page that shows it without anybody else's assets."""

from __future__ import annotations

from html import escape
from typing import Any

from audit_infra.http.html import marked
from audit_schemas.topics import CATEGORIES

_TEXT = {"type": "string"}
_MANY = {"type": "array", "items": _TEXT, "maxItems": 200}
_FILTERS: dict[str, tuple[dict[str, Any], str]] = {
    "user": (_MANY, "`<actor type>:<id>`, or an id of any type. Repeat for several."),
    "event": (_MANY, "Event type, such as auth.login_failed. Repeat for several."),
    "category": ({"type": "array", "items": {"enum": list(CATEGORIES)}}, "Repeat for several."),
    "since": (_TEXT, "From this instant on: RFC 3339, a date with tz, or a span such as 24h."),
    "until": (_TEXT, "Before this instant; a date includes that whole local day."),
    "tz": (_TEXT, "Time zone of dates, and of local times in exports."),
}
_PAGING: dict[str, tuple[dict[str, Any], str]] = {
    "limit": ({"type": "integer", "minimum": 1, "maximum": 200, "default": 50}, "Events per page."),
    "cursor": (_TEXT, "From `next` or `prev` of another page of the same filter."),
}
_SEARCH: dict[str, tuple[dict[str, Any], str]] = {"search": (_TEXT, "Part of a name, e-mail, id or label.")}
_CSV: dict[str, tuple[dict[str, Any], str]] = {
    "format": ({"enum": ["csv"]}, "The only format so far."),
    "order": ({"enum": ["desc", "asc"]}, "Newest first by default."),
    "raw": ({"enum": ["0", "1"]}, "1 leaves cells as they are; by default spreadsheets can't run them."),
    "header": ({"enum": ["labels", "names"]}, "English headers or field names."),
    "bom": ({"enum": ["0", "1"]}, "1 puts a byte-order mark first."),
}
PATHS: dict[str, tuple[str, dict[str, tuple[dict[str, Any], str]]]] = {
    "/v1/events": ("A page of events, newest first.", _FILTERS | _PAGING),
    "/v1/events/{event_id}": ("One event.", {}),
    "/v1/facets/users": ("The users that appear in the log.", _SEARCH),
    "/v1/facets/events": ("The event types that appear in the log.", _SEARCH),
    "/v1/catalogue": ("All native event types and the categories.", {}),
    "/v1/gaps": ("The events that producers numbered but that are stored nowhere, of all workspaces.", {}),
    "/v1/export": ("All matching events as CSV, streamed.", _FILTERS | _CSV),
}


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    problem = {"description": "A problem (RFC 9457)", "content": {"application/problem+json": {"schema": _PROBLEM}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Workspace audit log", "version": "1", "description": "Only additions within v1."},
        "security": [{"key": []}, {"bearer": []}],
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            }
        },
        "paths": {
            path: {
                "get": {
                    "summary": summary,
                    "parameters": [
                        *(
                            {"name": name, "in": "query", "schema": schema, "description": text, "explode": True}
                            for name, (schema, text) in parameters.items()
                        ),
                        *(
                            [{"name": "event_id", "in": "path", "required": True, "schema": _TEXT}]
                            if "{event_id}" in path
                            else []
                        ),
                    ],
                    "responses": {"200": {"description": "As asked."}, "4XX": problem, "503": problem},
                }
            }
            for path, (summary, parameters) in PATHS.items()
        },
    }


_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id", "errors"],
    "properties": {
        **dict.fromkeys(("type", "title", "detail", "request_id"), _TEXT),
        "status": {"type": "integer"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}


def _page() -> str:
    parts = [
        (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Audit log API</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="/audit-log/static/icon.svg" type="image/svg+xml">'
            '<link rel="stylesheet" href="/audit-log/static/style.css"><main class="doc"><h1>Audit log API</h1>'
            '<p class="lead">Send an API key as <code>X-API-Key</code>, or a token of the host product as'
            " <code>Authorization: Bearer</code>. For machines: "
            '<a href="/openapi.json">OpenAPI 3.1</a>.</p>'
        )
    ]
    for path, (summary, parameters) in PATHS.items():
        rows = "".join(
            f"<dt><code>{escape(name)}</code></dt><dd>{marked(text)}</dd>" for name, (_, text) in parameters.items()
        )
        parts.append(f"<h2><code>GET {escape(path)}</code></h2><p>{escape(summary)}</p><dl>{rows}</dl>")
    return "".join([*parts, "</main></html>"])


DOCS = _page()

__all__ = ["DOCS", "PATHS", "document"]
