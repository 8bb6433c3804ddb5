"""The problems only the Events API has; the others are every service's."""

from __future__ import annotations

from typing import Any, Final

from audit_infra.http.problems import Fault, ProblemError

MAX_EVENTS: Final = 1_000
"""Events in one request."""
MAX_BODY_BYTES: Final = 5 * 1024 * 1024
"""A request's body, unpacked."""


def unreadable(detail: str) -> ProblemError:
    """The body is not JSON as it should be."""
    return ProblemError(400, "unreadable-body", "The body can't be read", detail)


def not_acceptable() -> ProblemError:
    """The caller takes no JSON."""
    return ProblemError(406, "not-acceptable", "Answers are JSON: Accept must allow application/json")


def too_slow(seconds: float) -> ProblemError:
    """The body did not arrive in time."""
    return ProblemError(408, "too-slow", "The body did not arrive in time", f"it may take {seconds:g} s")


def in_flight() -> ProblemError:
    """Another attempt with the same retry key has not ended."""
    return ProblemError(
        409,
        "in-flight",
        "Another attempt with this retry key is being served",
        "nothing of this request was recorded; repeat it in a moment",
        headers={"Retry-After": "1"},
    )


def too_large(what: str, limit: int) -> ProblemError:
    """More bytes or events than one request may have; the limit is in the answer."""
    return ProblemError(413, "too-large", f"A request holds at most {limit} {what}", extra={"limit": limit})


def unsupported_media_type(detail: str, accept_encoding: bool = False) -> ProblemError:
    """The body's type or coding is not one of those that are taken."""
    headers = {"Accept-Encoding": "gzip, zstd, identity"} if accept_encoding else {}
    return ProblemError(
        415, "unsupported-media-type", "This type or coding of body is not taken", detail, headers=headers
    )


def wrong_shape(faults: tuple[Fault, ...]) -> ProblemError:
    """The body is JSON, but neither an event nor a list of events."""
    detail = "; ".join(f"{fault.name or '/'}: {fault.message}" for fault in faults)
    return ProblemError(422, "wrong-shape", "The body is not what is expected here", detail, faults=faults)


def invalid_event(faults: tuple[Fault, ...]) -> ProblemError:
    """One event breaks the contract; for its place in the results."""
    detail = "; ".join(f"{fault.name or '/'}: {fault.message}" for fault in faults)
    return ProblemError(422, "invalid-event", "The event is not valid", detail, faults=faults)


def key_reused() -> ProblemError:
    """One event carries the retry key of another one; for its place in the results."""
    fault = Fault("/event_id", "key_reused", "was used for an event with other content", place="body")
    return ProblemError(422, "key-reused", "The retry key belongs to another event", fault.message, faults=(fault,))


def request_key_reused() -> ProblemError:
    """The Idempotency-Key came with another body before."""
    fault = Fault("Idempotency-Key", "key_reused", "was used for a request with another body", place="header")
    detail = f"Idempotency-Key: {fault.message}; nothing of this one was recorded"
    return ProblemError(422, "key-reused", "The retry key belongs to another request", detail, faults=(fault,))


def nothing_accepted(results: list[dict[str, Any]], faults: tuple[Fault, ...]) -> ProblemError:
    """No event of the request was accepted; the results say why, one by one."""
    return ProblemError(
        422,
        "nothing-accepted",
        "No event was accepted",
        "see the problem of each result",
        faults=faults,
        extra={"results": results},
    )


def foreign_workspace() -> ProblemError:
    """A body names another workspace than the credential's. The same answer whether that one exists or not."""
    detail = "the workspace is the credential's; leave workspace_id out. Nothing of this request was recorded"
    return ProblemError(403, "foreign-workspace", "The credential is not for this workspace", detail)


def rate_limited(limit: str, seconds: int) -> ProblemError:
    """The key or app has sent too much for now."""
    return ProblemError(
        429,
        "rate-limited",
        "Too many events for now",
        f"the limit is {limit}; nothing of this request was recorded",
        headers={"Retry-After": str(seconds)},
        extra={"limit": limit},
    )


def no_app() -> ProblemError:
    """The credential may write, but says of no app that it writes."""
    how = "audit-log keys create <workspace> --scope audit:write --app-id <app>"
    detail = f"events are recorded as those of the key's app, and this credential has none; make one: {how}"
    return ProblemError(403, "no-app", "The credential belongs to no app", detail)


def others_type(app_id: str) -> ProblemError:
    """A custom type is described by the app that used or described it first."""
    return ProblemError(403, "others-type", "The type belongs to another app", f"it is {app_id}'s")


def not_ready(reasons: list[str]) -> ProblemError:
    """The service can't take events, for reasons that an operator can look into."""
    return ProblemError(503, "not-ready", "Events can't be taken right now", "; ".join(reasons))


def unavailable() -> ProblemError:
    """The control database does not answer."""
    detail = "keys and retry keys can't be read; repeat it in a moment, nothing of this request was recorded"
    return ProblemError(503, "unavailable", "The log can't answer right now", detail, headers={"Retry-After": "5"})


def busy() -> ProblemError:
    """So many bodies are being read that another would not fit into memory."""
    detail = "too many bodies are being read; nothing was recorded"
    return ProblemError(503, "busy", "Too much at once", detail, headers={"Retry-After": "1"})


def not_taken(results: list[dict[str, Any]] | None = None, *, in_doubt: bool = False) -> ProblemError:
    """The log could not make events durable. Results say which ones it could.

    `in_doubt`: some may be recorded all the same, because nobody said in time that they are.
    """
    if in_doubt:
        detail = "whether it is recorded is not known; repeat it with the same retry key, and it is recorded once"
    elif results is None:
        detail = "nothing of this request was recorded; repeat it later"
    else:
        detail = "results that say accepted are recorded; with retry keys the whole request can be repeated"
    extra = {} if results is None else {"results": results}
    return ProblemError(
        503, "not-taken", "The log can't take events right now", detail, headers={"Retry-After": "5"}, extra=extra
    )


__all__ = [
    "MAX_BODY_BYTES",
    "MAX_EVENTS",
    "busy",
    "foreign_workspace",
    "in_flight",
    "invalid_event",
    "key_reused",
    "no_app",
    "not_acceptable",
    "not_ready",
    "not_taken",
    "nothing_accepted",
    "others_type",
    "rate_limited",
    "request_key_reused",
    "too_large",
    "too_slow",
    "unavailable",
    "unreadable",
    "unsupported_media_type",
    "wrong_shape",
]
