"""Answers that change only with the service: callers who have them already get a 304."""

from __future__ import annotations

import base64
import hashlib

from starlette.requests import Request
from starlette.responses import Response

from audit_infra.http.compression import LEAST, coding


def tagged(request: Request, body: bytes, media_type: str) -> Response:
    """The body under a strong ETag made of its content, or 304 when `If-None-Match` names it.

    Packed bytes are other bytes, so their tag ends with the coding the caller will get.
    """
    packed = coding(",".join(request.headers.getlist("accept-encoding"))) if len(body) >= LEAST else ""
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()[:15]).decode()
    tag = f'"{digest}-{packed}"' if packed else f'"{digest}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    # Weak comparison (RFC 9110 §13.1.2): W/ does not matter.
    known = {one.strip().removeprefix("W/") for one in ",".join(request.headers.getlist("if-none-match")).split(",")}
    if known & {tag, "*"}:
        return Response(status_code=304, headers=headers | {"Vary": "Accept-Encoding"})
    return Response(body, headers=headers, media_type=media_type)


__all__ = ["tagged"]
