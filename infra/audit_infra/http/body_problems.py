"""The problems of requests that have a body: its size, its type, and what it holds."""

from __future__ import annotations

from typing import Final

from audit_infra.http.problems import Fault, ProblemError, ProblemType

UNREADABLE: Final = ProblemType(
    "unreadable-body",
    400,
    "The body can't be read",
    "The body is not strict JSON in UTF-8, or its gzip or zstd is damaged.",
    "Repeating does not help.",
)
TOO_SLOW: Final = ProblemType(
    "too-slow",
    408,
    "The body did not arrive in time",
    "The body took longer than it may.",
    "Send it faster, or a smaller one.",
)
TOO_LARGE: Final = ProblemType(
    "too-large",
    413,
    "That is more than a request may hold",
    "There are more bytes or items than one request may have. Bytes count before and after unpacking.",
    "Send less in one request; `limit` says how much.",
)
UNSUPPORTED: Final = ProblemType(
    "unsupported-media-type",
    415,
    "This type or coding of body is not taken",
    "The body's Content-Type or Content-Encoding is not one of those that are taken.",
    "Send application/json, plain or with Content-Encoding gzip or zstd.",
)
WRONG_SHAPE: Final = ProblemType(
    "wrong-shape",
    422,
    "The body is not what is expected here",
    "The body is JSON, but not what this request takes.",
    "Correct everything that `errors` lists; repeating does not help.",
)
BUSY: Final = ProblemType(
    "busy",
    503,
    "Too much at once",
    "Too many bodies are being read. Nothing was recorded.",
    "Repeat after `Retry-After` seconds.",
)
OF_BODIES: Final = (UNREADABLE, TOO_SLOW, TOO_LARGE, UNSUPPORTED, WRONG_SHAPE, BUSY)
"""The types of requests with a body."""


def unreadable(detail: str) -> ProblemError:
    """The body is not JSON as it should be."""
    return ProblemError(UNREADABLE, detail)


def too_slow(seconds: float) -> ProblemError:
    """The body did not arrive in time."""
    return ProblemError(TOO_SLOW, f"it may take {seconds:g} s")


def too_large(what: str, limit: int) -> ProblemError:
    """More bytes or events than one request may have; the limit is in the answer."""
    return ProblemError(TOO_LARGE, f"a request holds at most {limit} {what}", extra={"limit": limit})


def unsupported_media_type(detail: str, accept_encoding: bool = False) -> ProblemError:
    """The body's type or coding is not one of those that are taken."""
    headers = {"Accept-Encoding": "gzip, zstd, identity"} if accept_encoding else {}
    return ProblemError(UNSUPPORTED, detail, headers=headers)


def wrong_shape(faults: tuple[Fault, ...]) -> ProblemError:
    """The body is JSON, but neither an event nor a list of events."""
    detail = "; ".join(f"{fault.name or '/'}: {fault.message}" for fault in faults)
    return ProblemError(WRONG_SHAPE, detail, faults=faults)


def busy() -> ProblemError:
    """So many bodies are being read that another would not fit into memory."""
    detail = "too many bodies are being read; nothing was recorded"
    return ProblemError(BUSY, detail, headers={"Retry-After": "1"})


__all__ = [
    "BUSY",
    "OF_BODIES",
    "TOO_LARGE",
    "TOO_SLOW",
    "UNREADABLE",
    "UNSUPPORTED",
    "WRONG_SHAPE",
    "busy",
    "too_large",
    "too_slow",
    "unreadable",
    "unsupported_media_type",
    "wrong_shape",
]
