"""The custom types of each workspace: labels, first use, and schemas. Remembered for some seconds, so that the usual
request touches no table.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, and_, func, select

from audit_producers.events_api.descriptions import Description
from audit_producers.events_api.intake import TypeInfo
from audit_producers.events_api.problems import others_type
from audit_producers.events_api.schemas import MetadataSchema
from audit_producers.events_api.tables import Database, event_types
from audit_schemas.acceptance import label_of

FRESH_S: Final = 5.0
"""How long what was read is taken for true: another process may have changed it."""
MOST_LISTED: Final = 10_000
_REMEMBERED: Final = 10_000
_COLUMNS = event_types.c


@dataclass(frozen=True, slots=True)
class CustomType:
    """A custom type as it is kept. `first_used_at`: milliseconds since 1970, None until an event of it was accepted."""

    name: str
    label: str
    app_id: str
    first_used_at: int | None
    schema: dict[str, Any] | None
    mode: str


@dataclass(frozen=True, slots=True)
class _Known:
    info: TypeInfo
    used: bool
    until: float


class CustomTypes:
    """The table of types. Thread-safe; what is not remembered blocks on the disk and may raise `ControlUnavailable`."""

    def __init__(self, database: Database, monotonic: Callable[[], float]) -> None:
        self._database, self._monotonic = database, monotonic
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._lock = threading.Lock()

    def remembered(self, workspace_id: str, names: Collection[str]) -> dict[str, TypeInfo] | None:
        """What is known of these types without asking the database, None when it has to be asked."""
        now = self._monotonic()
        with self._lock:
            found = {name: self._known.get((workspace_id, name)) for name in names}
        if any(one is None or one.until < now for one in found.values()):
            return None
        return {name: one.info for name, one in found.items() if one is not None}

    def read(self, workspace_id: str, names: Collection[str]) -> dict[str, TypeInfo]:
        """What is known of these types; remembers it."""
        wanted = select(event_types).where(_COLUMNS.workspace_id == workspace_id, _COLUMNS.name.in_(sorted(names)))
        with self._database.transaction() as connection:
            rows = {str(row.name): row for row in connection.execute(wanted)}
        infos = {name: _info(rows.get(name)) for name in names}
        for name, info in infos.items():
            used = name in rows and rows[name].first_used_at is not None
            self._remember(workspace_id, name, info, used=used)
        return infos

    def unused(self, workspace_id: str, names: Collection[str]) -> list[str]:
        """Those of the types of which no accepted event is known yet."""
        with self._lock:
            return [
                name for name in names if (known := self._known.get((workspace_id, name))) is None or not known.used
            ]

    def record_use(self, workspace_id: str, app_id: str, labels: Mapping[str, str], now_ms: int) -> None:
        """Writes down that events of these types, with these labels, were accepted; the first use counts."""
        insert = self._database.insert(event_types)
        statement = insert.on_conflict_do_update(
            index_elements=[_COLUMNS.workspace_id, _COLUMNS.name],
            set_={
                "first_used_at": func.coalesce(_COLUMNS.first_used_at, insert.excluded.first_used_at),
                "label": func.coalesce(func.nullif(_COLUMNS.label, ""), insert.excluded.label),
            },
        )
        rows = [
            _row(workspace_id, name, app_id, now_ms) | {"label": label, "first_used_at": now_ms}
            for name, label in sorted(labels.items())
        ]
        with self._database.transaction() as connection:
            connection.execute(statement, rows)
        self.read(workspace_id, labels)

    def put(self, workspace_id: str, app_id: str, name: str, described: Description, now_ms: int) -> CustomType:
        """Sets what is known of a type; its first use stays, and its label when none is given.

        Raises the problem 403 when the type is another app's.
        """
        schema = "" if described.schema is None else json.dumps(described.schema)
        values = {"schema": schema, "mode": described.mode, "updated_at": now_ms}
        if described.label:
            values["label"] = described.label
        statement = self._database.insert(event_types).on_conflict_do_update(
            index_elements=[_COLUMNS.workspace_id, _COLUMNS.name], set_=values, where=_COLUMNS.app_id == app_id
        )
        with self._database.transaction() as connection:
            connection.execute(
                statement, [_row(workspace_id, name, app_id, now_ms) | {"label": label_of(name)} | values]
            )
            key = and_(_COLUMNS.workspace_id == workspace_id, _COLUMNS.name == name)
            made = _type(connection.execute(select(event_types).where(key)).one())
        if made.app_id != app_id:
            raise others_type(made.app_id)
        self.read(workspace_id, [name])
        return made

    def list(self, workspace_id: str) -> tuple[list[CustomType], bool]:
        """The types of a workspace by name, and whether these are all."""
        wanted = select(event_types).where(_COLUMNS.workspace_id == workspace_id).order_by(_COLUMNS.name)
        with self._database.transaction() as connection:
            rows = connection.execute(wanted.limit(MOST_LISTED + 1)).all()
        return [_type(row) for row in rows[:MOST_LISTED]], len(rows) <= MOST_LISTED

    def _remember(self, workspace_id: str, name: str, info: TypeInfo, *, used: bool) -> None:
        with self._lock:
            self._known[workspace_id, name] = _Known(info, used, self._monotonic() + FRESH_S)
            self._known.move_to_end((workspace_id, name))
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def _row(workspace_id: str, name: str, app_id: str, now_ms: int) -> dict[str, Any]:
    return {
        "workspace_id": workspace_id,
        "name": name,
        "label": "",
        "app_id": app_id,
        "first_used_at": None,
        "schema": "",
        "mode": "reject",
        "updated_at": now_ms,
    }


def _info(row: Row[Any] | None) -> TypeInfo:
    if row is None:
        return TypeInfo()
    schema = MetadataSchema(json.loads(row.schema)) if row.schema else None
    return TypeInfo(str(row.label), schema, rejects=row.mode == "reject")


def _type(row: Row[Any]) -> CustomType:
    schema = json.loads(row.schema) if row.schema else None
    return CustomType(row.name, row.label, row.app_id, row.first_used_at, schema, row.mode)


__all__ = ["FRESH_S", "MOST_LISTED", "CustomType", "CustomTypes"]
