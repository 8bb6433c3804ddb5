"""The Events API's description: OpenAPI 3.1, made of the shapes and examples that the reference page shows too."""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import Any, Final

from audit_producers.events_api import examples, shapes
from audit_producers.events_api.intake import MAX_TYPE, TYPE_PATTERN

_SCHEMAS: Final = {
    "Event": shapes.EVENT,
    "Batch": shapes.BATCH,
    "Answer": shapes.ANSWER,
    "Result": shapes.RESULT,
    "Problem": shapes.PROBLEM,
    "Fault": shapes.FAULT,
    "EventType": shapes.EVENT_TYPE,
    "Description": shapes.DESCRIPTION,
    "RefusedEvents": shapes.REFUSED,
}
_EVERYWHERE: Final = (400, 401, 403, 500, 503)
_WITH_BODY: Final = (*_EVERYWHERE, 406, 408, 413, 415, 422, 429)
_REQUEST_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Retry key of the whole request. Events without event_id get theirs from it and their position.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "example": "import-2026-03-14-0001",
}
_NAME: Final[dict[str, Any]] = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "A custom type.",
    "schema": {"type": "string", "maxLength": MAX_TYPE, "pattern": TYPE_PATTERN},
    "example": "deal.won",
}


@functools.cache
def document() -> dict[str, Any]:
    """The OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Workspace audit log: Events API",
            "version": "1",
            "description": "How custom apps record events. Only additions within v1.",
        },
        "security": [{"key": []}, {"bearer": []}],
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "paths": {
            "/v1/events": {"post": _post_events()},
            "/v1/event-types": {"get": _get_event_types()},
            "/v1/event-types/{name}": {"put": _put_event_type()},
            "/v1/refused-events": {"get": _get_refused_events()},
        },
    }


def _post_events() -> dict[str, Any]:
    return {
        "operationId": "postEvents",
        "summary": "Record one event, or up to 1 000 at once.",
        "description": "Scope audit:write, with a key that belongs to an app. Up to 5 MiB unpacked; gzip and zstd are "
        "taken. The answer comes once every accepted event is durable.",
        "parameters": [_REQUEST_KEY],
        "requestBody": _body(
            {"oneOf": [_ref("Event"), _ref("Batch")]},
            {
                "one event": examples.ONE,
                "an event of a person, by the app": examples.FOR_A_PERSON,
                "several events, not all of them good": examples.BATCH,
            },
        ),
        "responses": {
            "202": _json(
                "Everything that was accepted is durable.",
                _ref("Answer"),
                {"to one event": examples.ANSWER, "to several": examples.BATCH_ANSWER},
            ),
            **_problems(*_WITH_BODY, 409),
        },
    }


def _get_event_types() -> dict[str, Any]:
    return {
        "operationId": "listEventTypes",
        "summary": "The custom types of the workspace, by name.",
        "description": "Scope audit:read or audit:write.",
        "responses": {
            "200": _json(
                "As asked. `complete` is false when there are more than 10 000.",
                _list("EventType", {"complete": {"type": "boolean"}}),
                {"all types": {"data": [examples.EVENT_TYPE], "complete": True}},
            ),
            **_problems(*_EVERYWHERE),
        },
    }


def _put_event_type() -> dict[str, Any]:
    return {
        "operationId": "putEventType",
        "summary": "Describe a custom type: its label, and a schema for the metadata of its events.",
        "description": "Scope audit:write, with a key of the app that used or described the type first. Replaces what "
        "was described before. Other processes of the service follow within seconds.",
        "parameters": [_NAME],
        "requestBody": _body(_ref("Description"), {"a label and a schema": examples.DESCRIPTION}),
        "responses": {
            "200": _json("The type as it is now.", _ref("EventType"), {"the type": examples.EVENT_TYPE}),
            **_problems(*_WITH_BODY),
        },
    }


def _get_refused_events() -> dict[str, Any]:
    return {
        "operationId": "listRefusedEvents",
        "summary": "How many events were refused, by day, app and reason; newest day first.",
        "description": "Scope audit:admin.",
        "responses": {
            "200": _json("As asked.", _list("RefusedEvents"), {"counts": {"data": [examples.REFUSED]}}),
            **_problems(*_EVERYWHERE),
        },
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(name: str, further: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = {"data": {"type": "array", "items": _ref(name)}, **(further or {})}
    return {"type": "object", "required": list(properties), "properties": properties}


def _body(schema: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "examples": _named(shown)}}}


def _json(description: str, schema: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": schema, "examples": _named(shown)}},
    }


def _named(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: {"value": value} for name, value in shown.items()}


def _problems(*statuses: int) -> dict[str, Any]:
    return {str(status): _problem(status) for status in sorted(statuses)}


def _problem(status: int) -> dict[str, Any]:
    known = [one for one in examples.KNOWN if one.status == status]
    headers = {name for one in known for name in one.headers if name == "Retry-After"}
    return {
        "description": HTTPStatus(status).phrase + ": " + " ".join(f"`{one.kind.name}`." for one in known),
        **(
            {"headers": {name: {"schema": {"type": "integer"}, "description": "Seconds."} for name in headers}}
            if headers
            else {}
        ),
        "content": {
            "application/problem+json": {
                "schema": _ref("Problem"),
                "examples": {
                    one.kind.name: {
                        "summary": f"{one.kind.meaning} {one.kind.advice}",
                        "value": one.body(examples.REQUEST_ID),
                    }
                    for one in known
                },
            }
        },
    }


__all__ = ["document"]
