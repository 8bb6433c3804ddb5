"""JSON as it is taken here: one meaning per text, and nothing that another reader would understand differently."""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from typing import Any, Final, NoReturn

from audit_infra.http.body_problems import unreadable

MAX_DEPTH: Final = 64
_LONGEST_INTEGER: Final = 20
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(raw: bytes) -> Any:
    """The value of a body. Raises the problem 400 saying what is wrong, for everything that is not strict JSON.

    Strict: UTF-8; no NaN or infinity, also not as 1e999; integers of 64 bits; no key twice; no unpaired surrogate; at
    most `MAX_DEPTH` deep; nothing behind the value.
    """
    if raw.startswith(codecs.BOM_UTF8):
        raise unreadable("begins with a byte order mark, which JSON has none of")
    try:
        value = _decode(raw.decode())
        if _SURROGATE.search(raw):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise unreadable(f"byte {error.start} is not UTF-8") from None
    except UnicodeEncodeError:
        raise unreadable("a text has an unpaired surrogate") from None
    except json.JSONDecodeError as error:
        raise unreadable(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise unreadable(f"nested more than {MAX_DEPTH} deep") from None
    except _NotTaken as error:
        raise unreadable(str(error)) from None
    if isinstance(value, (dict, list)) and _deeper(value, MAX_DEPTH):
        raise unreadable(f"nested more than {MAX_DEPTH} deep")
    return value


class _NotTaken(ValueError):
    """JSON that is not taken; the text says why."""


def _integer(text: str) -> int:
    if len(text) <= _LONGEST_INTEGER:
        number = int(text)
        if -(2**63) <= number < 2**63:
            return number
    raise _NotTaken("an integer needs more than 64 bits; send it as text")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _NotTaken(f"{text[:40]} is beyond the numbers of JSON readers; send it as text")
    return number


def _constant(text: str) -> NoReturn:
    raise _NotTaken(f"{text} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise _NotTaken(f"an object has the key {twice[:80]!r} twice")
    return found


_decode = json.JSONDecoder(
    parse_int=_integer, parse_float=_float, parse_constant=_constant, object_pairs_hook=_object
).decode


def _deeper(value: dict[str, Any] | list[Any], most: int) -> bool:
    """Whether containers stand in each other more than `most` deep. Level by level: recursion costs more than parsing."""
    level: list[dict[str, Any] | list[Any]] = [value]
    for _ in range(most):
        level = [
            inner
            for one in level
            for inner in (one.values() if type(one) is dict else one)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True


__all__ = ["MAX_DEPTH", "parse_json"]
