"""The columns of Parquet with their types. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from audit_query.conditions import Condition
from audit_query.exports import texts
from audit_query.exports.form import Form
from audit_query.exports.texts import HIDDEN_NAME, IP, LABEL, hidden, json_without_secrets
from audit_schemas.catalogue import Catalogue


def _absent(sql: str) -> str:
    return f"nullIf({sql}, '')"


_INSTANT: Final = "toDateTime64({0}, 6, 'UTC')"
_TARGETS: Final = (
    "CAST(arrayMap((t, i, n) -> (nullIf(t, ''), nullIf(i, ''), nullIf(n, '')), `targets.type`, `targets.id`,"
    " `targets.name`), 'Array(Tuple(type Nullable(String), id Nullable(String), name Nullable(String)))')"
)
_VALUES: Final[Mapping[str, str]] = {
    "event_id": "toString(event_id)",
    "workspace_id": "workspace_id",
    "category": "category",
    "event_type": "event_type",
    "label": LABEL,
    "occurred_at": "occurred_at",
    "received_at": "nullIf(received_at, fromUnixTimestamp64Micro(0, 'UTC'))",
    "accepted_at": _INSTANT.format("kafka_timestamp"),
    "ingested_at": _INSTANT.format("ingested_at"),
    "late": "CAST(toUnixTimestamp64Milli(kafka_timestamp) * 1000 - toUnixTimestamp64Micro(occurred_at)"
    " > {late_after:Int64}, 'Bool')",
    **{f"actor_{leaf}": _absent(f"actor_{leaf}") for leaf in ("type", "id", "name", "email")},
    **{f"on_behalf_of_{leaf}": _absent(f"on_behalf_of_{leaf}") for leaf in ("type", "id", "name")},
    "source": "source",
    "ip": _absent(IP),
    "user_agent": _absent("user_agent"),
    "targets": _TARGETS,
    "outcome": "outcome",
    "outcome_reason": _absent("outcome_reason"),
    "changes": "if(changes = '', '[]', changes)",
    "metadata": "if(metadata = '', '{}', metadata)",
    **{name: _absent(name) for name in ("request_id", "session_id", "app_id")},
    **{f"producer_{leaf}": _absent(f"producer_{leaf}") for leaf in ("service", "instance", "version")},
    "producer_seq": "producer_seq",
    "kafka_topic": "kafka_topic",
    "kafka_topic_id": "kafka_topic_id",
    "kafka_partition": "kafka_partition",
    "kafka_offset": "kafka_offset",
}
_MASKED: Final[Mapping[str, str]] = {
    "actor_name": _absent(f"if({HIDDEN_NAME}, {{mask:String}}, toString(actor_name))"),
    **{name: _absent(hidden(name)) for name in ("actor_email", "user_agent")},
    "ip": _absent(hidden(IP)),
    "changes": f"if(changes = '', '[]', {json_without_secrets('changes')})",
    "metadata": f"if(metadata = '', '{{}}', {json_without_secrets('metadata')})",
}
COLUMNS: Final[tuple[str, ...]] = tuple(_VALUES)
"""The columns, in their order."""


def cells(form: Form, catalogue: Catalogue, *, pii: bool) -> Condition:
    """The expressions of a row under their names with `c_` in front, and the values bound in them."""
    expressions = _VALUES if pii else {**_VALUES, **_MASKED}
    values: dict[str, Any] = texts.values(catalogue, pii=pii)
    values["late_after"] = int(form.late_after_s * 1_000_000)
    found = [f"{expressions[name]} AS c_{name}" for name in chosen(form)]
    return Condition(", ".join(found), values)


def chosen(form: Form) -> Sequence[str]:
    """The columns of a file, in its order."""
    return form.columns or COLUMNS


__all__ = ["COLUMNS", "cells", "chosen"]
