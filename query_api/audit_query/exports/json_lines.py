"""The lines of NDJSON, as ClickHouse makes them: each event as `/v1/events` gives it, and where Kafka holds it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from audit_query.conditions import Condition
from audit_query.exports import texts
from audit_query.exports.form import Form
from audit_query.exports.texts import HIDDEN_NAME, IP, LABEL, hidden, json_without_secrets
from audit_query.rows import FIELDS
from audit_schemas.catalogue import Catalogue

Pieces = tuple[str, ...]
"""Expressions of text, one behind the other: joined once per line, since each joining copies what it joins."""


def _constant(text: str) -> str:
    return f"'{text}'"


def _text(sql: str) -> Pieces:
    return (f"toJSONString({sql})",)


def _absent(sql: str) -> Pieces:
    """Text of which nothing is null."""
    return (f"if({sql} = '', 'null', toJSONString({sql}))",)


def _word(column: str) -> Pieces:
    """The same of a column with a dictionary: functions of it alone are worked out once per word, not per row."""
    return (f"replaceRegexpOne(toJSONString({column}), '^\"\"$', 'null')",)


def _instant(sql: str) -> Pieces:
    return (f"formatDateTime(toDateTime64({sql}, 6, 'UTC'), '\"%Y-%m-%dT%H:%i:%S.%fZ\"', 'UTC')",)


def _object(members: Mapping[str, Pieces]) -> Pieces:
    found: list[str] = []
    for number, (name, pieces) in enumerate(members.items()):
        found += [_constant(f'{"," if number else "{"}"{name}":'), *pieces]
    return (*found, _constant("}"))


def _joined(pieces: Pieces) -> str:
    """As one expression; constants next to each other are one."""
    found: list[str] = []
    for piece in pieces:
        if found and found[-1].startswith("'") and piece.startswith("'"):
            found[-1] = _constant(found[-1][1:-1] + piece[1:-1])
        else:
            found.append(piece)
    return f"concat({', '.join(found)})"


def _stored_json(column: str, nothing: str) -> Pieces:
    """JSON as it stands, in one line. A producer that keeps no contract may have sent something else: then as text."""
    told = f"if(position({column}, '\\n') > 0, replaceRegexpAll({column}, '[\\\\r\\\\n]+', ' '), {column})"
    return (f"multiIf({column} = '', '{nothing}', isValidJSON({column}), {told}, toJSONString({column}))",)


_ACTOR: Final[Mapping[str, Pieces]] = {leaf: _word(f"actor_{leaf}") for leaf in ("type", "id", "name", "email")}
_PERSON: Final = _object(
    {"type": _text("on_behalf_of_type"), "id": _absent("on_behalf_of_id"), "name": _absent("on_behalf_of_name")}
)
_TARGET: Final = _joined(_object({"type": _absent("t"), "id": _absent("i"), "name": _absent("n")}))
_VALUES: Final[Mapping[str, Pieces]] = {
    "event_id": ("'\"'", "toString(event_id)", "'\"'"),
    "workspace_id": _text("{workspace:String}"),
    "category": _word("category"),
    "event_type": _word("event_type"),
    "label": _text(LABEL),
    "occurred_at": _instant("occurred_at"),
    "received_at": (f"if(toUnixTimestamp64Micro(received_at) = 0, 'null', {_instant('received_at')[0]})",),
    "accepted_at": _instant("kafka_timestamp"),
    "ingested_at": _instant("ingested_at"),
    "late": (
        "if(toUnixTimestamp64Milli(kafka_timestamp) * 1000 - toUnixTimestamp64Micro(occurred_at)"
        " > {late_after:Int64}, 'true', 'false')",
    ),
    "actor": _object(_ACTOR),
    "on_behalf_of": (f"if(on_behalf_of_type = '', 'null', {_joined(_PERSON)})",),
    "source": _word("source"),
    "ip": (f"if({IP} = '', 'null', concat('\"', {IP}, '\"'))",),
    "user_agent": _word("user_agent"),
    "targets": (
        "'['",
        f"arrayStringConcat(arrayMap((t, i, n) -> {_TARGET}, `targets.type`, `targets.id`, `targets.name`), ',')",
        "']'",
    ),
    "outcome": _word("outcome"),
    "outcome_reason": _word("outcome_reason"),
    "changes": _stored_json("changes", "[]"),
    "metadata": _stored_json("metadata", "{}"),
    "request_id": _absent("request_id"),
    "session_id": _absent("session_id"),
    "app_id": _word("app_id"),
    "producer": _object(
        {
            **{leaf: _word(f"producer_{leaf}") for leaf in ("service", "instance", "version")},
            "seq": ("toString(producer_seq)",),
        }
    ),
    "kafka": _object(
        {
            "topic": _text("kafka_topic"),
            "topic_id": _text("kafka_topic_id"),
            "partition": ("toString(kafka_partition)",),
            "offset": ("toString(kafka_offset)",),
        }
    ),
}
_MASKED_ACTOR: Final[Mapping[str, Pieces]] = {
    **_ACTOR,
    "name": _absent(f"if({HIDDEN_NAME}, {{mask:String}}, toString(actor_name))"),
    "email": _absent(hidden("actor_email")),
}
_MASKED: Final[Mapping[str, Pieces]] = {
    "actor": _object(_MASKED_ACTOR),
    "ip": _absent(hidden(IP)),
    "user_agent": _absent(hidden("user_agent")),
    "changes": _stored_json(f"({json_without_secrets('changes')})", "[]"),
    "metadata": _stored_json(f"({json_without_secrets('metadata')})", "{}"),
}
COLUMNS: Final[tuple[str, ...]] = (*FIELDS, "kafka")
"""The fields of a line, in their order."""


def line(form: Form, catalogue: Catalogue, *, pii: bool) -> Condition:
    """The expression of a line, and the values bound in it, beside those that every query over events has."""
    chosen: Sequence[str] = form.columns or COLUMNS
    expressions = _VALUES if pii else {**_VALUES, **_MASKED}
    values: dict[str, Any] = texts.values(catalogue, pii=pii)
    values["late_after"] = int(form.late_after_s * 1_000_000)
    return Condition(f"{_joined(_object({name: expressions[name] for name in chosen}))} AS line", values)


__all__ = ["COLUMNS", "line"]
