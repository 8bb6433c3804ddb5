"""The OpenAPI 3.1 document, put together of the tables."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from audit_infra.http.problems import ProblemType
from audit_query.openapi.operation import Operation
from audit_query.openapi.operations import OPERATIONS
from audit_query.openapi.problem_examples import PROBLEM_EXAMPLES
from audit_query.openapi.shapes import SCHEMAS, reference

HEADERS: Final[dict[str, tuple[str, str]]] = {
    "X-Request-Id": ("Names this request; quote it when something is wrong.", "6f0f1b6f3f0e4f5f9d3c5b7a9e1d2c4b"),
    "Retry-After": ("Seconds after which to try again.", "5"),
    "WWW-Authenticate": ("How to authenticate.", 'Bearer realm="audit-log"'),
    "Allow": ("The methods of this address.", "GET, HEAD"),
    "Link": (
        'Where older and newer events are (RFC 8288): `rel="next"` and `rel="prev"`.',
        '</v1/events?since=24h&cursor=m3Yx>; rel="next"',
    ),
    "Audit-Complete-Through": (
        "Up to which moment of acceptance events of every category are shown, or `unknown`.",
        "2026-03-14T12:00:05.000Z",
    ),
    "Audit-Preview": (
        "There on plans that do not show everything: since when, and whether that cut the range that was asked for.",
        'since="2026-03-13T12:00:00.000000Z", plan="starter", upgrade_url="/upgrade?workspace=acme", clamped=?1',
    ),
    "RateLimit": ("What is left of the limit that is nearest, and for how many seconds.", '"key";r=599;t=60'),
    "RateLimit-Policy": ("The limits: requests and seconds.", '"key";q=600;w=60, "workspace";q=1200;w=60'),
    "Location": ("Where what was made is.", "/v1/admin/workspaces/acme"),
    "ETag": ("Names these bytes; for If-None-Match.", '"Vx1c9Zk0b3mWq2Yt"'),
    "Cache-Control": ("Whether the answer may be kept.", "private, no-cache"),
    "Accept-Ranges": ("Ranges are taken.", "bytes"),
    "Content-Range": ("Which bytes these are, of how many.", "bytes 0-1023/52428"),
    "Repr-Digest": (
        "The SHA-256 of the whole file (RFC 9530), also when a range of it is sent.",
        "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
    ),
    "Content-Disposition": (
        "The name of the file: workspace, first and last day, zone.",
        'attachment; filename="audit-log-acme-2026-03-07-to-2026-03-14-Europe-Berlin.csv"',
    ),
    "X-Export-Id": ("Names this export, in the log and for its manifest.", "0b9b7fa5c0d24f7a9d0e4e1e3f0d7c55"),
}
_WITH_PROBLEM: Final = {401: ("WWW-Authenticate",), 405: ("Allow",), 429: ("Retry-After",), 503: ("Retry-After",)}


@functools.cache
def document() -> dict[str, Any]:
    """The document. The same object every time: leave it as it is."""
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Workspace audit log",
            "version": "1",
            "description": "How the log is read. Within v1 there are only additions: clients must tolerate new fields and"
            " new values. Repeat a filter for several values: they are ORed, parameters are ANDed.",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {"bearer": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "headers": {
                name: {"description": text, "schema": {"type": "string"}, "example": example}
                for name, (text, example) in HEADERS.items()
            },
            "responses": {kind.name: _problem(kind) for kind in PROBLEM_EXAMPLES},
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "A key, or a JWT of the host product."},
            },
        },
    }


def _operation(one: Operation) -> dict[str, Any]:
    return {
        "operationId": one.name,
        "tags": [one.tag],
        "summary": one.summary,
        "description": " ".join(filter(None, (one.description, f"Scope `{one.scope}`."))),
        "parameters": [each.described() for each in one.parameters],
        **({"requestBody": _body(*one.body)} if one.body else {}),
        "responses": {
            **{str(status): _answer(one) for status in ((one.status, 200) if one.status == 201 else (one.status,))},
            **({"206": _answer(one)} if "Content-Range" in one.headers else {}),
            **({"304": {"description": "Unchanged.", "headers": _headers(("ETag",))}} if "ETag" in one.headers else {}),
            **_problems(one.all_problems),
        },
    }


def _answer(one: Operation) -> dict[str, Any]:
    content = {each.media: {"schema": each.schema, "example": each.example} for each in one.answers}
    return {
        "description": "As asked.",
        "headers": _headers(("X-Request-Id", "RateLimit", "RateLimit-Policy", *one.headers)),
        **({"content": content} if content else {}),
    }


def _body(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def _problems(kinds: Iterable[ProblemType]) -> dict[str, Any]:
    """By status; statuses with one type refer to it, those with several list their examples."""
    by_status: dict[int, list[ProblemType]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    return {
        str(status): {"$ref": f"#/components/responses/{found[0].name}"} if len(found) == 1 else _problem(*found)
        for status, found in by_status.items()
    }


def _problem(*kinds: ProblemType) -> dict[str, Any]:
    status = kinds[0].status
    return {
        "description": f"{HTTPStatus(status).phrase}: "
        + " ".join(f"`{kind.name}`: {kind.meaning} {kind.advice}" for kind in kinds),
        "headers": _headers(("X-Request-Id", *_WITH_PROBLEM.get(status, ()))),
        "content": {
            "application/problem+json": {
                "schema": reference("Problem"),
                "examples": {kind.name: {"summary": kind.meaning, "value": PROBLEM_EXAMPLES[kind]} for kind in kinds},
            }
        },
    }


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


__all__ = ["HEADERS", "document"]
