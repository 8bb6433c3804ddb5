"""The problems only the Events API has; the others are every service's."""

from __future__ import annotations

from typing import Any, Final

from audit_infra.http.problems import Fault, ProblemError
from audit_producers.events_api import problem_types as kinds

MAX_EVENTS: Final = 1_000
"""Events in one request."""
MAX_BODY_BYTES: Final = 5 * 1024 * 1024
"""A request's body, unpacked."""
NOT_RECORDED: Final = "nothing of this request was recorded"
"""For whoever may repeat a request."""


def in_flight() -> ProblemError:
    """Another attempt with the same retry key has not ended."""
    return ProblemError(
        kinds.IN_FLIGHT,
        "nothing of this request was recorded; repeat it in a moment",
        headers={"Retry-After": "1"},
    )


def invalid_event(faults: tuple[Fault, ...]) -> ProblemError:
    """One event breaks the contract; for its place in the results."""
    detail = "; ".join(f"{fault.name or '/'}: {fault.message}" for fault in faults)
    return ProblemError(kinds.INVALID_EVENT, detail, faults=faults)


def key_reused() -> ProblemError:
    """One event carries the retry key of another one; for its place in the results."""
    fault = Fault("/event_id", "key_reused", "was used for an event with other content", place="body")
    return ProblemError(kinds.KEY_REUSED, fault.message, faults=(fault,))


def request_key_reused() -> ProblemError:
    """The Idempotency-Key came with another body before."""
    fault = Fault("Idempotency-Key", "key_reused", "was used for a request with another body", place="header")
    detail = f"Idempotency-Key: {fault.message}; nothing of this one was recorded"
    return ProblemError(kinds.KEY_REUSED, detail, faults=(fault,))


def nothing_accepted(results: list[dict[str, Any]], faults: tuple[Fault, ...]) -> ProblemError:
    """No event of the request was accepted; the results say why, one by one."""
    return ProblemError(
        kinds.NOTHING_ACCEPTED,
        "see the problem of each result",
        faults=faults,
        extra={"results": results},
    )


def foreign_workspace() -> ProblemError:
    """A body names another workspace than the credential's. The same answer whether that one exists or not."""
    detail = "the workspace is the credential's; leave workspace_id out. Nothing of this request was recorded"
    return ProblemError(kinds.FOREIGN_WORKSPACE, detail)


def no_app() -> ProblemError:
    """The credential may write, but says of no app that it writes."""
    how = "audit-log keys create <workspace> --scope audit:write --app-id <app>"
    detail = f"events are recorded as those of the key's app, and this credential has none; make one: {how}"
    return ProblemError(kinds.NO_APP, detail)


def others_type(app_id: str) -> ProblemError:
    """A custom type is described by the app that used or described it first."""
    return ProblemError(kinds.OTHERS_TYPE, f"it is {app_id}'s")


def not_ready(reasons: list[str]) -> ProblemError:
    """The service can't take events, for reasons that an operator can look into."""
    return ProblemError(kinds.NOT_READY, "; ".join(reasons))


def unavailable() -> ProblemError:
    """The control database does not answer."""
    detail = "keys and retry keys can't be read; repeat it in a moment, nothing of this request was recorded"
    return ProblemError(kinds.UNAVAILABLE, detail, headers={"Retry-After": "5"})


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
    return ProblemError(kinds.NOT_TAKEN, detail, headers={"Retry-After": "5"}, extra=extra)


__all__ = [
    "MAX_BODY_BYTES",
    "MAX_EVENTS",
    "NOT_RECORDED",
    "foreign_workspace",
    "in_flight",
    "invalid_event",
    "key_reused",
    "no_app",
    "not_ready",
    "not_taken",
    "nothing_accepted",
    "others_type",
    "request_key_reused",
    "unavailable",
]
