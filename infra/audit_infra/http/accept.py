"""What a caller takes: `Accept` and `Accept-Encoding`, with their weights (RFC 9110 §12.5)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from audit_infra.http.problems import NOT_ACCEPTABLE, ProblemError

_WEIGHT = re.compile(r"q=(0(\.\d{0,3})?|1(\.0{0,3})?)")


def weights(header: str) -> dict[str, float]:
    """Each name of the header in lower case with its weight from 0 to 1. A weight that can't be read counts as 1."""
    found: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name:
            weight = next((match[1] for one in parameters if (match := _WEIGHT.fullmatch(one))), "1")
            found[name] = max(found.get(name, 0), float(weight))
    return found


def media_type(header: str, offered: Sequence[str]) -> str:
    """The one of the offered media types that the caller likes best; of equal ones the first.

    Raises the problem 406 when it takes none of them. Without a header everything is taken.
    """
    given = weights(header) or {"*/*": 1.0}

    def liked(name: str) -> float:
        for pattern in (name, f"{name.partition('/')[0]}/*", "*/*"):
            if pattern in given:
                return given[pattern]
        return 0.0

    best = max(offered, key=liked)
    if liked(best) == 0:
        raise not_acceptable(offered)
    return best


def not_acceptable(offered: Sequence[str]) -> ProblemError:
    """The problem that names what there is."""
    return ProblemError(NOT_ACCEPTABLE, f"there is {', '.join(offered)}", extra={"available": list(offered)})


__all__ = ["media_type", "not_acceptable", "weights"]
