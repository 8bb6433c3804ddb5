"""Texts that several formats make of a row, and what of them is hidden from whoever lacks audit:pii. SQL, pure.

As `audit_query.rows` has them in Python; a test holds the two against each other.
"""

from __future__ import annotations

from typing import Any

from audit_query.rows import MASK
from audit_schemas.catalogue import Catalogue

LABEL = (
    "transform(toString(event_type), {names:Array(String)}, {labels:Array(String)},"
    " if(label != '', toString(label), toString(event_type)))"
)
"""The name people know the event by."""
# The engine writes dots into addresses of ::/96, RFC 5952 does not. With a one in front it sees none there.
_WITHOUT_DOTS = "substring(IPv6NumToString(CAST(toUInt128(ip) + bitShiftLeft(toUInt128(1), 112), 'IPv6')), 2)"
IP = (
    "multiIf(position(IPv6NumToString(ip) AS ip_text, '.') = 0, if(ip_text = '::', '', ip_text),"
    f" startsWith(ip_text, '::ffff:'), substring(ip_text, 8), {_WITHOUT_DOTS})"
)
"""The address as RFC 5952 has it, or nothing."""
HIDDEN_NAME = "actor_type = 'anonymous' AND actor_name != ''"
"""Whether the actor's name is personal: somebody nobody knows was called by what they typed in."""
_SECRETS = f"arrayFilter(x -> x != '', [toString(actor_email), toString(user_agent), {IP}])"
_STRINGS_AND_REST = r'"(?:[^"\\]|\\.)*"|[^"]+'


def values(catalogue: Catalogue, *, pii: bool) -> dict[str, Any]:
    """What is bound in the texts of this module."""
    found: dict[str, Any] = {
        "names": [one.name for one in catalogue],
        "labels": [one.label for one in catalogue],
    }
    return found if pii else found | {"mask": MASK, "token": _STRINGS_AND_REST}


def hidden(sql: str) -> str:
    """The mask where there is something."""
    return f"if({sql} = '', '', {{mask:String}})"


def json_without_secrets(column: str) -> str:
    """The JSON of a column with a mask for each text in it that repeats the actor's e-mail, address or user agent.

    Keys stay. Only rows that may hold one are taken apart: those that say it, or that have escapes in which it may hide.
    What is no JSON can't be, and is hidden whole.
    """
    tokens = f"extractAll({column}, {{token:String}})"
    repeats = "multiSearchAny(JSONExtractString(concat('[', t, ']'), 1), secrets)"
    taken_apart = (
        f"arrayStringConcat(arrayMap((t, next, secrets) -> if(startsWith(t, '\"') AND NOT startsWith(next, ':')"
        f" AND {repeats}, concat('\"', {{mask:String}}, '\"'), t),"
        f" {tokens} AS {column}_tokens, arrayPushBack(arrayPopFront({column}_tokens), ''),"
        f" arrayWithConstant(length({column}_tokens), {_SECRETS})))"
    )
    suspect = f"multiSearchAny({column}, {_SECRETS}) OR (position({column}, '\\\\') > 0 AND notEmpty({_SECRETS}))"
    return f"multiIf(NOT ({suspect}), {column}, isValidJSON({column}), {taken_apart}, {{mask:String}})"


__all__ = ["HIDDEN_NAME", "IP", "LABEL", "hidden", "json_without_secrets", "values"]
