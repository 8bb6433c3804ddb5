"""Everything that is seen can be told from the address: what it says, what Apply makes of it, and where it may lead."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_infra.http.problems import ProblemError
from audit_query.filters import NOT, base_of, parse
from audit_query.web.address import Address, Pair, place_text
from audit_query.web.chips import READS, Names, chips
from audit_query.web.options import closed, groups, typed
from audit_query.web.panels import PANELS, PRESETS, Panel, applied
from audit_query.web.session import own_path
from audit_query.web.viewer import Viewer
from audit_schemas.catalogue import load
from audit_schemas.event import SOURCES, micros
from tests.builders import NOON, text

BERLIN = Viewer(ZoneInfo("Europe/Berlin"), "en-US", NOON)
OWN = "https://us.example/audit-log"
ID = "018e3f5c-0000-7000-8000-000000000001"
CHOSEN = [panel for panel in PANELS.values() if panel.kind != "range"]
NAMED = ("user", "event", "category", "target", "ip", "app", "q", "meta.a", "meta.b c", "meta.=&")
instants = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
places = st.tuples(instants.map(micros), st.uuids().map(str))
values = text(12, 1)
pairs = st.tuples(st.sampled_from(NAMED).flatmap(lambda name: st.sampled_from((name, NOT + name))), values)


def sides(filters: list[Pair]) -> list[Pair]:
    """Filters as the service takes them: no value twice, none looked for and left out at once."""
    kept: dict[Pair, Pair] = {}
    for name, value in filters:
        kept.setdefault((name.removeprefix(NOT), value), (name, value))
    return list(kept.values())


filters = st.lists(pairs, max_size=8).map(sides)


def read(reference: str) -> Address:
    return Address.of(parse_qsl(urlsplit(reference).query, keep_blank_values=True))


@given(filters, st.none() | places, text(40))
def test_an_address_read_back_is_the_same(chosen: list[Pair], at: tuple[int, str] | None, show: str) -> None:
    """Filters in their order, the place and the open event, whatever characters they hold."""
    address = Address(tuple(chosen), at, show)
    assert read(address.link()) == address
    assert read(f"/x?{address.query}").filters == address.filters
    assert read(address.showing(ID).link()) == Address(tuple(chosen), at, ID)
    assert read(address.starting(None).link()) == Address(tuple(chosen))


@pytest.mark.parametrize(
    "place", ["x", ID, f"2026-03-14T12:00:00,{ID}", "2026-03-14T12:00:00Z,x", f"0001-01-01T00:00:00+23:00,{ID}x"]
)
def test_a_place_that_is_none_is_told(place: str) -> None:
    """Before anything is asked of the service."""
    with pytest.raises(ProblemError) as told:
        Address.of([("at", place)])
    assert told.value.faults[0].code == "not_a_place"


def test_a_place_means_the_same_in_every_spelling() -> None:
    """The instant may have any offset, the id any case."""
    at = (micros(NOON), ID)
    assert place_text(at) == f"2026-03-14T12:00:00.000000Z,{ID}"
    assert Address.of([("at", f"2026-03-14T13:00:00+01:00,{ID.upper()}")]).at == at


@given(st.sampled_from(CHOSEN), filters)
def test_apply_without_a_change_changes_nothing(panel: Panel, before: list[Pair]) -> None:
    """What a panel shows, sent as it is, is what was; the service takes it still."""
    side = "exclude" if panel.excludes(before) else "include"
    form = {"was": [side], "mode": [side], "value": panel.ticked(before)}
    after = applied(panel, before, form, BERLIN)
    assert sorted(after) == sorted(before)


@given(st.sampled_from(CHOSEN), filters, st.data())
def test_apply_sets_its_own_side_and_leaves_the_rest(panel: Panel, before: list[Pair], data: st.DataObject) -> None:
    """Other filters stay in their order; no value is on both sides, none is there twice, and all that was chosen is."""
    was, mode = ("exclude" if panel.excludes(before) else "include"), data.draw(st.sampled_from(("include", "exclude")))
    ticked = data.draw(st.lists(st.sampled_from(panel.ticked(before)), unique=True)) if panel.ticked(before) else []
    added, key = data.draw(text(12)), data.draw(text(12))
    form = {"was": [was], "mode": [mode], "value": ticked, "add": [added], "key": [key]}
    after = applied(panel, before, form, BERLIN)
    others = [pair for pair in before if not panel.holds(pair[0])]
    assert [pair for pair in after if not panel.holds(pair[0])] == others
    assert len(after) == len(set(after)) == len({(name.removeprefix(NOT), value) for name, value in after})
    side = NOT if mode == "exclude" else ""
    own = [(name, value) for name, value in after if panel.holds(name)]
    for packed in ticked:
        name, value = parse_qsl(packed, keep_blank_values=True)[0] if panel.kind == "pair" else (panel.name, packed)
        assert (side + name, value) in own
    if panel.kind != "pair" and added.strip():
        assert (side + panel.name, added.strip()) in own
    # The side that was not shown stays, but for what now stands on this one.
    hidden = [pair for pair in before if panel.holds(pair[0]) and pair[0].startswith(NOT) != (was == "exclude")]
    assert {(name.removeprefix(NOT), value) for name, value in hidden} <= {
        (name.removeprefix(NOT), value) for name, value in own
    }


@pytest.mark.parametrize(
    ("form", "filters_after"),
    [
        *(({"preset": [preset]}, [("since", preset)]) for preset in PRESETS if preset != "quarter"),
        ({"preset": ["quarter"]}, [("since", "2026-01-01T00:00:00+01:00")]),
        ({"since": ["2026-03-29T02:30"]}, [("since", "2026-03-29T03:00:00+02:00")]),
        ({"since": ["2026-10-25T02:30"]}, [("since", "2026-10-25T02:30:00+02:00")]),
        ({"until": ["2026-10-25T02:30"]}, [("until", "2026-10-25T02:30:00+01:00")]),
        ({"until": ["2026-03-14"]}, [("until", "2026-03-15T00:00:00+01:00")]),
        ({"since": [""], "until": [""]}, []),
    ],
)
def test_a_range_is_instants_of_the_viewers_clock(form: dict[str, list[str]], filters_after: list[Pair]) -> None:
    """With their offset, so that a link means the same everywhere; a range that was is replaced."""
    before = [("since", "1h"), ("tz", "UTC"), ("source", "web")]
    after = applied(PANELS["range"], before, form, BERLIN)
    assert after == [("source", "web"), *filters_after]
    parse(after, NOON, paging=False)


@pytest.mark.parametrize("typed_time", ["soon", "2026-13-01T00:00", "2026-03-14T00:00+01:00", "9999-12-31"])
def test_a_time_that_is_none_is_refused(typed_time: str) -> None:
    """In words, by the panel."""
    with pytest.raises((ValueError, OverflowError)):
        applied(PANELS["range"], [], {"until": [typed_time]}, BERLIN)


def test_every_filter_in_an_address_is_a_chip_that_takes_away_itself_alone() -> None:
    """In words where they are known; the zone is none, and reading the log itself is one."""
    names = Names(load())
    names.learn(
        [
            {
                "event_type": "deal.won",
                "label": "Deal Won",
                "actor": {"type": "client", "id": "c1", "name": "Nikos"},
                "targets": [{"type": "file", "id": "f1", "name": "plan.pdf"}],
            }
        ]
    )
    told = {
        ("user", "client:c1"): "User: Nikos",
        ("user", "c1"): "User: Nikos",
        ("not_user", "client:c2"): "User: not c2",
        ("user", "system:"): "User: System",
        ("event", "file.deleted"): "Event: File Deleted",
        ("event", "deal.won"): "Event: Deal Won",
        ("event", "no.such"): "Event: no.such",
        ("category", "internal_notes"): "Category: Internal Notes",
        ("source", "api"): "Source: API",
        ("actor_type", "api_key"): "Actor type: API key",
        ("not_outcome", "failure"): "Outcome: not Failure",
        ("target", "file:f1"): "Target: plan.pdf",
        ("target", "client:"): "Target: any client",
        ("meta.size", "5"): "size: 5",
        ("not_meta.a b", "c"): "a b: not c",
        ("q", "tax"): "Words: tax",
        ("since", "7d"): "Last 7 days",
        ("since", "36h"): "From 36h",
        ("since", "2026-03-14T12:00:00Z"): "From Mar 14, 2026 13:00:00",
        ("until", "2026-03-14"): "Before 2026-03-14",
    }
    address = Address((*told, *READS, ("tz", "UTC")), (1, ID), ID)
    found = chips(address, names, BERLIN)
    assert [chip.text for chip in found] == ["Audit-log reads hidden", *told.values()]
    for chip, pair in zip(found[1:], told, strict=True):
        left = read(chip.without)
        assert set(address.filters) - set(left.filters) == {pair}
        assert (left.at, left.show) == (None, "")
    assert set(address.filters) - set(read(found[0].without).filters) == set(READS)


def test_what_is_ticked_stays_listed_whatever_is_searched() -> None:
    """First, checked, by its name if that is known; event types lie in their categories."""
    names = Names(load(), users={"client:c9": "Zoe"})
    ada = {"value": "internal_user:u1", "name": "Ada", "email": "a@x.org", "actor_type": "internal_user", "count": 1200}
    bob = {"value": "client:c1", "name": None, "email": "b@x.org", "actor_type": "client", "count": 1}
    (group,) = groups("user", [bob, ada], ["client:c9", "internal_user:u1"], names, BERLIN)
    assert [(one.label, one.note, one.count, one.checked) for one in group.options] == [
        ("Zoe", "", "", True),
        ("Ada", "Internal user · a@x.org", "1,200", True),
        ("b@x.org", "Client", "1", False),
    ]
    types: list[dict[str, Any]] = [
        {"value": "file.deleted", "label": "File Deleted", "category": "files", "app_id": None, "count": 2},
        {"value": "deal.won", "label": "Deal Won", "category": "developer", "app_id": "desk", "count": 3},
    ]
    found = groups("event", types, ["auth.logout"], names, BERLIN)
    assert [(one.title, [option.label for option in one.options]) for one in found] == [
        ("Chosen", ["Logout"]),
        ("Files", ["File Deleted"]),
        ("Developer", ["Deal Won"]),
    ]
    assert found[2].options[0].note == "via desk"
    assert groups("user", [], [], names, BERLIN) == []


def test_closed_lists_are_whole_and_typed_values_can_be_taken_away() -> None:
    """Every value of a list is there, with or without events; a typed one is a ticked box."""
    names = Names(load())
    (group,) = closed(SOURCES, {"web": 5}, "source", ["api"], names, BERLIN)
    assert [(one.value, one.count, one.checked) for one in group.options] == [
        ("web", "5", False),
        ("automation", "", False),
        ("api", "", True),
    ]
    (group,) = typed(PANELS["meta"], ["meta.a+b=1%263"])
    assert [(one.label, one.checked) for one in group.options] == [("a b = 1&3", True)]
    assert typed(PANELS["ip"], []) == []


@pytest.mark.parametrize(
    "place",
    [
        *("https://evil.example/audit-log", "//evil.example/audit-log", "///audit-log", "//[", "http:/audit-log"),
        *("/\\evil.example/audit-log", "\\\\evil.example/audit-log", "/audit-log\\..\\evil", "javascript:alert(1)"),
        *("/audit-log/../evil", "/audit-log/events/../../evil", "/audit-log\r\nLocation: //evil", "/audit-log\t"),
        *("/audit-logs", "/settings", "audit-log", " /audit-log", "/audit-log@evil.example", "/audit-log/sign-out", ""),
    ],
)
def test_no_reference_leads_elsewhere(place: str) -> None:
    """To another site, to a part that is no page, or to what browsers read otherwise than it looks."""
    assert own_path(place) == ""


@pytest.mark.parametrize(
    "place", ["/audit-log", "/audit-log?user=a%2Fb&at=x#y", f"/audit-log/events/{ID}", "/audit-log/exports"]
)
def test_the_pages_own_places_are_kept(place: str) -> None:
    """With their filters."""
    assert own_path(place) == place


@given(text(60))
def test_whatever_is_kept_begins_with_the_pages_own_path(reference: str) -> None:
    """Any text at all, also behind a beginning that looks right."""
    for place in (reference, f"/audit-log{reference}", f"//{reference}"):
        kept = own_path(place)
        assert kept == "" or (kept == place and urljoin("https://us.example/x", kept).startswith(OWN))


def test_every_panel_holds_its_own_parameters_alone() -> None:
    """No parameter belongs to two, so that Apply of one never touches another."""
    for name in (*NAMED, *(NOT + name for name in NAMED), "since", "until", "tz"):
        assert sum(panel.holds(name) for panel in PANELS.values()) == 1, name
        assert base_of(name)
