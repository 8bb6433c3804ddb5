"""Which bytes of a file a request wants, and whether it wants any (RFC 9110 §13 and §14). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_RANGE: Final = re.compile(r"bytes=\s*([0-9]{0,15})-([0-9]{0,15})\s*", re.IGNORECASE)


class Unsatisfiable(ValueError):
    """The range begins behind the end of the file."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The bytes to send; `partial` when they were asked for as a range, which may be the whole file."""

    first: int
    length: int
    partial: bool


def wanted(headers: Mapping[str, str], etag: str, size: int) -> Wanted | None:
    """None when the caller has the file already (304). Raises `Unsatisfiable` (416).

    `etag` is strong, with its quotes. What is no single range is ignored, as the specification allows: several ranges
    get the whole file, and so does a range of another version (`If-Range`).
    """
    if _names(headers.get("if-none-match", ""), etag):
        return None
    given = headers.get("range", "")
    condition = headers.get("if-range")
    if not given or (condition is not None and condition.strip() != etag):
        return Wanted(0, size, partial=False)
    return _single(given, size) or Wanted(0, size, partial=False)


def _single(given: str, size: int) -> Wanted | None:
    match = _RANGE.fullmatch(given)
    if match is None or match[0].strip().endswith("=-"):
        return None
    first, last = match[1], match[2]
    if not first:  # the last so many bytes
        length = min(int(last), size)
        if length == 0:
            raise Unsatisfiable
        return Wanted(size - length, length, partial=True)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable
    end = min(int(last), size - 1) if last else size - 1
    return Wanted(int(first), end - int(first) + 1, partial=True)


def _names(header: str, etag: str) -> bool:
    """Weak comparison: W/ does not matter."""
    known = {one.strip().removeprefix("W/") for one in header.split(",")}
    return bool(known & {etag, "*"})


__all__ = ["Unsatisfiable", "Wanted", "wanted"]
