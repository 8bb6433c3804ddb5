"""`docs/emitting.md` says what the SDK does: its fields, limits, settings, errors and numbers."""

from __future__ import annotations

import builtins
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import audit_producers
from audit_infra import settings
from audit_producers import EventFields, ProducerSettings, Receipt, Stats
from audit_producers.changes import MOST_CHANGES
from audit_schemas import event as limits
from audit_schemas.acceptance import NEWEST, OLDEST
from audit_schemas.event import Event
from audit_schemas.redaction import SECRET_FIELDS

TEXT = (Path(__file__).parents[2] / "docs" / "emitting.md").read_text("utf-8")


def rows(section: str) -> list[list[str]]:
    """The cells of the section's table, without its head."""
    body = re.split(rf"^## {section}$", TEXT, flags=re.MULTILINE)[1].partition("\n## ")[0]
    lines = [line for line in body.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named(cell: str) -> list[str]:
    """What stands in code in a cell, without arguments."""
    return [name.partition("(")[0].removeprefix("await ") for name in re.findall(r"`([^`]+)`", cell)]


def test_every_setting_stands_there_with_its_default() -> None:
    """The table is that of `ProducerSettings`, no more and no less."""
    told = {named(name)[0]: default for name, default, _ in rows("Settings")}
    assert told.keys() == {f"AUDIT_{name.upper()}" for name in ProducerSettings.model_fields}
    for name, field in ProducerSettings.model_fields.items():
        default, was = field.default, told[f"AUDIT_{name.upper()}"]
        if isinstance(default, bool):
            assert was == str(default).lower()
        elif isinstance(default, (int, float)):
            assert float(was) == default, name
        else:
            assert was == str(default), name


def test_every_field_stands_there_with_its_limits() -> None:
    """Lengths are those of the model, and what the model can't say is asked of the constants behind it."""
    told = {name: f"{what} {limit}" for names, what, limit in rows("What an event says") for name in named(names)}
    assert told.keys() == {"event_type", *EventFields.__annotations__}
    schema = Event.model_json_schema()
    groups = {"actor": "Actor", "on_behalf_of": "OnBehalfOf", "targets": "Target"}
    for name, text in told.items():
        parts: list[dict[str, Any]] = [schema["properties"][name]]
        if name in groups:
            parts += schema["$defs"][groups[name]]["properties"].values()
        for part in parts:
            for limit in (part.get("maxLength"), part.get("maxItems"), *part.get("enum", ())):
                assert limit is None or re.search(rf"\b{limit}\b", text), f"{name}: {limit}"
    assert {*rf"{limits._METADATA_KEYS} {limits._KEY_LENGTH} {limits._TEXT_LENGTH}".split()} <= {
        *re.findall(r"\d+", told["metadata"])
    }
    assert re.findall(r"\d+", told["changes"]) == [str(MOST_CHANGES), "1", "256"]
    assert (OLDEST.days, NEWEST.days, told["occurred_at"]) == (3652, 1, told["occurred_at"])
    assert "10 years back to one day ahead" in told["occurred_at"]
    assert f"at most {limits.MAX_EVENT_BYTES:_} bytes".replace("_", " ") in TEXT


def test_every_secret_field_is_named() -> None:
    """Those and no others."""
    found = re.search(r"become `\{\"redacted\": true\}`: ([a-z_, ]+)\.", TEXT)
    assert found is not None
    assert set(found[1].split(", ")) == SECRET_FIELDS


def test_every_error_a_caller_can_see_is_described() -> None:
    """What the package exports, what Python raises, and the one of the settings."""
    told = {name for names, *_ in rows("Errors") for name in named(names)}
    exported = {
        name
        for name in audit_producers.__all__
        if isinstance(one := getattr(audit_producers, name), type) and issubclass(one, Exception)
    }
    assert told == exported | {"TypeError", "ValueError", "SettingsError"}
    assert all(hasattr(audit_producers, name) or hasattr(builtins, name) or hasattr(settings, name) for name in told)


def test_every_number_and_every_part_of_a_receipt_is_described() -> None:
    """The tables of `stats` and of receipts."""
    assert {name for names, *_ in rows("Watching") for name in named(names)} == {one.name for one in fields(Stats)}
    told = {name for names, _ in rows("Receipts") for name in named(names)}
    public = {name for name in dir(Receipt) if not name.startswith(("_", "settle_"))}
    assert told == public - {"error", "spooled"}
