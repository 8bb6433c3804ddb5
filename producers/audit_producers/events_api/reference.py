"""The Events API reference as a page: the OpenAPI document for people, without anybody else's assets."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from html import escape
from typing import Any, Final

from audit_infra.http.html import json_text, marked
from audit_infra.http.problems import ProblemType
from audit_producers.events_api import shapes
from audit_producers.events_api.openapi import document
from audit_producers.events_api.problem_types import TYPES
from audit_producers.events_api.problems import MAX_BODY_BYTES, MAX_EVENTS

_STYLE: Final = (
    ":root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}"
    "main{max-width:860px;margin:0 auto;padding:24px 16px 64px}"
    "h1{font-size:22px;margin:0}h2{font-size:17px;margin:36px 0 4px}h3{font-size:15px;margin:20px 0 4px}"
    "h2 code{font-size:16px}p{margin:6px 0}code,pre{font:13px/1.45 ui-monospace,monospace}"
    "pre{overflow-x:auto;padding:10px 12px;border:1px solid color-mix(in srgb,currentColor 20%,transparent);"
    "border-radius:6px}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:4px 12px 4px 0;"
    "border-bottom:1px solid color-mix(in srgb,currentColor 14%,transparent)}"
)
_WIDTH: Final = 100
POLICY: Final = (
    "default-src 'none'; img-src data:; base-uri 'none'; frame-ancestors 'none'; style-src 'sha256-"
    f"{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)
"""The page's Content-Security-Policy: nothing is loaded, nothing runs."""
_RETRIES: Final = (
    "`event_id` in a body is a retry key: any text of 1 to 128 characters. The stored id is made from workspace, app "
    "and key, so nobody can name another app's event. `Idempotency-Key` is the same for a whole request.",
    "An event whose key was accepted before with the same content is a `duplicate`: recorded once, answered with the "
    "same id. With other content it is rejected (`key-reused`).",
    "While another attempt with one of the keys is being served, the answer is 409 and nothing is recorded. An attempt "
    "that died frees its keys after 30 s.",
    "An event without `occurred_at` keeps the instant of the first attempt.",
    "Keys are kept for 7 days. A later repeat is accepted again; with its own `occurred_at` readers still show it once.",
    "Without any key each attempt is an event of its own. Repeat 408, 409, 429 and 503, and lost connections, with the "
    "same keys; nothing else.",
)
_LIMITS: Final = (
    ("events in a request", f"{MAX_EVENTS}"),
    ("bytes of a body, packed and unpacked", f"{MAX_BODY_BYTES}"),
    ("bytes of one event, as stored", "65536"),
    ("depth of JSON", "64"),
    ("integers", "64 bits; send longer ones as text"),
    ("rate", "a setting of the service, per key and per app: by default 100000 events and 6000 requests per minute"),
)


@functools.cache
def page() -> str:
    """The page as HTML."""
    paths: dict[str, dict[str, Any]] = document()["paths"]
    first, *others = [_operation(path, method, one) for path, ways in paths.items() for method, one in ways.items()]
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Events API</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">',
            f"<style>{_STYLE}</style></head><body><main><h1>Events API</h1>",
            _paragraph(
                "Custom apps record what they do in a workspace's audit log. Send the app's key as `X-API-Key` or as "
                "`Authorization: Bearer`; it says which workspace and app it is."
            ),
            '<p>For machines: <a href="openapi.json">OpenAPI 3.1</a>.</p>',
            f"<pre>{escape(_CURL)}</pre>",
            first,
            "<h2>An event</h2>",
            _paragraph(shapes.EVENT["description"]),
            _table(("field", "takes", "meaning"), _fields(shapes.EVENT)),
            "<h2>Retries</h2><ul>",
            *(f"<li>{marked(one)}</li>" for one in _RETRIES),
            "</ul><h2>Limits</h2>",
            _table(("what", "at most"), [(escape(what), escape(most)) for what, most in _LIMITS]),
            *others,
            "<h2>Problems</h2>",
            _paragraph("Every error is a problem (RFC 9457): `type` is stable, `errors` lists everything at once."),
            _table(("status", "type", "when", "what to do"), [_problem(kind) for kind in TYPES]),
            "</main></body></html>",
        ]
    )


_CURL: Final = """curl https://audit.example.com/v1/events \\
  -H "X-API-Key: $KEY" -H "Content-Type: application/json" \\
  -d '{"event_id": "deal-4711-won", "event_type": "deal.won", "label": "Deal won",
       "targets": [{"type": "deal", "id": "4711", "name": "New roof"}]}'"""


def _operation(path: str, method: str, one: dict[str, Any]) -> str:
    parts = [f"<h2><code>{method.upper()} {escape(path)}</code></h2>", _paragraph(one["summary"])]
    parts.append(_paragraph(one["description"]))
    if "parameters" in one:
        rows = [
            (f"<code>{escape(each['name'])}</code>", each["in"], marked(each["description"]))
            for each in one["parameters"]
        ]
        parts.append(_table(("parameter", "in", "meaning"), rows))
    contents = [("Request", one["requestBody"])] if "requestBody" in one else []
    contents += [
        (f"Answer {status}", one["responses"][status]) for status in ("200", "202") if status in one["responses"]
    ]
    for title, content in contents:
        for name, example in content["content"]["application/json"]["examples"].items():
            parts.append(f"<h3>{title}: {escape(name)}</h3>")
            if about := content.get("description"):
                parts.append(_paragraph(about))
            parts.append(f"<pre>{escape(json_text(example['value'], _WIDTH))}</pre>")
    return "".join(parts)


def _fields(shape: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (f"<code>{escape(name)}</code>", escape(_takes(inner)), marked(inner.get("description", "")))
        for name, inner in shape["properties"].items()
    ]


def _takes(shape: dict[str, Any]) -> str:
    """What a field takes, in a few words."""
    kind = shape["type"] if isinstance(shape["type"], str) else shape["type"][0]
    if "enum" in shape:
        return " | ".join(one for one in shape["enum"] if one is not None)
    if kind == "object" and "properties" in shape:
        return f"object: {', '.join(shape['properties'])}"
    if kind == "array":
        return f"up to {shape['maxItems']} of {', '.join(shape['items']['properties'])}"
    words = {"string": "text", "object": "object"}[kind]
    if shape.get("format") == "date-time":
        words = "RFC 3339 instant"
    elif shape.get("pattern", "").startswith("^[a-z]"):
        words = f"text {shape['pattern']}"
    return f"{words}, up to {shape['maxLength']}" if "maxLength" in shape else words


def _problem(kind: ProblemType) -> tuple[str, str, str, str]:
    return str(kind.status), f"<code>{escape(kind.uri)}</code>", marked(kind.meaning), marked(kind.advice)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"


def _paragraph(text: str) -> str:
    return f"<p>{marked(text)}</p>"


__all__ = ["POLICY", "page"]
