"""Hands a job's file out over HTTP: whole, in part, or not again to those who have it (RFC 9110, RFC 9530)."""

from __future__ import annotations

import base64
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from audit_infra.access import Principal
from audit_query.exports import ranges
from audit_query.exports.service import Exports
from audit_query.problems import no_such, range_not_satisfiable
from audit_query.sending import SentFile

_LONGEST_NUMBER: Final = 9


async def file_answer(
    exports: Exports, principal: Principal, request: Request, export_id: str, number: str
) -> Response:
    """The part of this number. How much of it was sent is recorded when the answer has ended."""
    if not (number.isascii() and number.isdecimal() and len(number) <= _LONGEST_NUMBER):
        raise no_such("part")
    download = await exports.part(principal, export_id, int(number))
    part = download.part
    etag, digest = f'"{part.sha256}"', base64.b64encode(bytes.fromhex(part.sha256)).decode()
    try:
        wanted = ranges.wanted(request.headers, etag, part.bytes)
    except ranges.Unsatisfiable:
        raise range_not_satisfiable(part.bytes) from None
    headers = [("etag", etag), ("accept-ranges", "bytes"), ("repr-digest", f"sha-256=:{digest}:")]
    if wanted is None:
        return Response(status_code=304, headers=dict(headers))
    headers += [
        ("content-type", download.media),
        ("content-length", str(wanted.length)),
        ("content-disposition", f'attachment; filename="{download.name}"'),
    ]
    if wanted.partial:
        last = wanted.first + wanted.length - 1
        headers.append(("content-range", f"bytes {wanted.first}-{last}/{part.bytes}"))

    def ended(sent: int) -> None:
        exports.downloaded(principal, download, wanted.first, wanted.length, sent)

    return SentFile(download.path, 206 if wanted.partial else 200, headers, wanted.first, wanted.length, ended)


__all__ = ["file_answer"]
