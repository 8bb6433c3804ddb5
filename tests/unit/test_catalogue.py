"""The catalogue of native event types."""

from __future__ import annotations

import copy
import tomllib
from importlib.resources import files
from typing import Any, get_args

import pytest

from audit_schemas.catalogue import CatalogueError, NativeEventType, load, parse
from audit_schemas.catalogue.generate import NAMES_FILE, names_source
from audit_schemas.topics import CATEGORIES

DATA: dict[str, Any] = tomllib.loads((files("audit_schemas") / "catalogue" / "types.toml").read_text("utf-8"))


def test_it_holds_the_native_types_of_twelve_categories() -> None:
    """About ninety, and the log's own events."""
    catalogue = load()
    assert 90 <= len(catalogue.types) <= 110
    assert set(catalogue.category_labels) == set(CATEGORIES)
    assert all(catalogue.of_category(category) for category in CATEGORIES)
    own = ("viewed", "searched", "export_requested", "export_completed", "export_failed", "export_downloaded")
    assert all(catalogue.get(f"audit_log.{name}") for name in own)
    assert catalogue.get("workspace.plan_changed")
    assert catalogue.get("dead_letter.replayed")


def test_updates_must_say_what_changed() -> None:
    """Every type named updated, and those that change a role, a place or a right."""
    required = {one.name for one in load() if one.changes_required}
    assert {one.name for one in load() if one.name.endswith(".updated")} <= required
    assert {"internal_user.role_changed", "file.moved", "workspace.plan_changed"} <= required
    assert "file.downloaded" not in required


def test_types_are_found_by_name_label_and_category() -> None:
    """What a search box asks."""
    catalogue = load()
    assert {one.name for one in catalogue.search("login f")} == {"auth.login_failed"}
    assert {one.name for one in catalogue.search("auth.log")} >= {"auth.login_failed", "auth.logout"}
    assert catalogue.nearest("file.dwnloaded")[0] == "file.downloaded"
    assert catalogue.get("no.such") is None


def test_every_problem_of_the_data_is_named() -> None:
    """A bad catalogue never loads."""
    data = copy.deepcopy(DATA)
    data["type"][0] |= {"name": "Bad Name", "colour": "red", "category": "sports", "label": ""}
    data["type"].append(copy.deepcopy(data["type"][1]))
    del data["type"][2]["ocsf"]
    data["category"].pop()
    with pytest.raises(CatalogueError) as raised:
        parse(data)
    text = str(raised.value)
    for part in ("Bad Name", "colour", "sports", "label", "is there twice", "no ocsf", "'developer' has no label"):
        assert part in text, part


def test_aliases_lead_to_the_type() -> None:
    """Names never change; they only gain aliases."""
    data = copy.deepcopy(DATA)
    data["type"][0]["aliases"] = ["auth.signed_in"]
    catalogue = parse(data)
    assert catalogue.get("auth.signed_in") is catalogue.types[0]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("file.download", "file.downloaded"),
        ("file.dwnloaded", "file.downloaded"),
        ("login_failed", "auth.login_failed"),
        ("login", "auth.login_succeeded"),
        ("File Downloaded", "file.downloaded"),
        ("FILE_DOWNLOADED", "file.downloaded"),
        ("files.downloaded", "file.downloaded"),
        ("client.update", "client.updated"),
        ("invoice.pay", "invoice.paid"),
    ],
)
def test_an_unknown_name_leads_to_the_one_that_was_meant(said: str, meant: str) -> None:
    """Slips, labels, names without their resource and the beginnings of words."""
    assert load().nearest(said)[0] == meant


def test_names_that_look_like_nothing_lead_nowhere() -> None:
    """A custom app's name is not taken for a slip, however long or odd it is."""
    for name in ("deal.won", "", "a", "ünïcode", "x" * 100_000, "\0"):
        assert load().nearest(name) == ()


def test_an_alias_is_answered_with_the_name_of_today() -> None:
    """Nobody is led to a name that is on its way out."""
    data = copy.deepcopy(DATA)
    data["type"][0]["aliases"] = ["auth.signed_in"]
    assert parse(data).nearest("auth.signedin") == ("auth.login_succeeded",)


def test_the_names_as_a_type_are_up_to_date() -> None:
    """After a change of types.toml: `python -m audit_schemas.catalogue.generate`."""
    assert NAMES_FILE.read_text("utf-8") == names_source(load())
    assert list(get_args(NativeEventType)) == [name for one in load() for name in (one.name, *one.aliases)]
    data = copy.deepcopy(DATA)
    data["type"][0]["aliases"] = ["auth.signed_in"]
    assert '    "auth.login_succeeded",\n    "auth.signed_in",\n' in names_source(parse(data))
