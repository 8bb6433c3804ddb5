"""The demo shows everything the product page names."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from audit_local.demo.stories import history
from audit_local.demo.traffic import EVENTS, SEED, Marker, shares
from audit_local.demo.world import world
from audit_local.workspaces import DEMO_WORKSPACES
from audit_schemas.acceptance import Acceptance
from audit_schemas.catalogue import load

NOW = datetime(2026, 3, 14, 15, 0, tzinfo=UTC)
WORLDS = tuple(world(one.id, SEED) for one in DEMO_WORKSPACES)
NAMED = {
    *("auth.login_succeeded", "auth.login_failed", "auth.logout", "auth.password_reset", "auth.password_changed"),
    *("auth.google_delinked", "auth.magic_link_sent"),
    *("internal_user.added", "internal_user.removed", "internal_user.updated", "internal_user.role_changed"),
    *("client.created", "client.updated", "client.deleted", "company.created", "company.updated", "company.deleted"),
    *("file.uploaded", "file.downloaded", "file.moved", "file.deleted"),
    *("contract.sent", "contract.signed", "contract.voided", "contract.downloaded"),
    *("form.created", "form.sent", "form.submitted"),
    *("invoice.created", "invoice.paid", "invoice.refunded", "invoice.voided"),
    *("message.sent", "message.edited", "message.deleted", "note.created", "note.edited", "note.deleted"),
    *("notification.delivered", "notification.viewed"),
    *("task.created", "task.updated", "task.completed", "task.deleted"),
    *("api_key.created", "api_key.used", "api_key.revoked"),
}


def test_every_event_the_product_page_names_is_in_the_catalogue_and_in_the_history() -> None:
    """In each of the four workspaces, custom app events too; all of it valid, exactly 50 000 in order of time."""
    past = history(WORLDS, shares(EVENTS, 4), NOW, 90, SEED)
    assert len(past) == EVENTS
    instants = [one.fields["occurred_at"] for one in past]
    assert instants == sorted(instants)
    assert instants[-1] < NOW
    catalogue = load()
    assert all(catalogue.get(name) for name in NAMED)
    for one in WORLDS:
        happened = Counter(each.event_type for each in past if each.fields["workspace_id"] == one.workspace_id)
        assert set(happened) >= NAMED
        assert {"deal.stage_changed", "timer.stopped"} <= set(happened)
    acceptance = Acceptance(catalogue)
    categories = set()
    for each in past[::7]:
        event = acceptance.accept(each.event_type, each.fields, NOW)
        categories.add(event.category)
    assert len(categories) == 12


def test_failed_logins_name_the_account_or_nobody() -> None:
    """A known login name makes its account the actor; an unknown one stays anonymous with the name as e-mail."""
    past = history(WORLDS[:1], (5_000,), NOW, 90, SEED)
    failed = [one.fields["actor"] for one in past if one.event_type == "auth.login_failed"]
    kinds = {actor["type"] for actor in failed}
    assert "anonymous" in kinds
    assert kinds & {"internal_user", "client"}
    assert all(actor["email"] for actor in failed)
    assert all(actor["id"] for actor in failed if actor["type"] != "anonymous")


def test_the_same_seed_gives_the_same_events() -> None:
    """So that an interrupted history goes on with the very same ids."""
    assert history(WORLDS, (50, 50, 50, 50), NOW, 90, SEED) == history(WORLDS, (50, 50, 50, 50), NOW, 90, SEED)


def test_previews_have_something_to_show() -> None:
    """Every workspace has events in its last 24 hours."""
    past = history(WORLDS, shares(EVENTS, 4), NOW, 90, SEED)
    recent = {one.fields["workspace_id"] for one in past if one.fields["occurred_at"] > NOW - timedelta(hours=24)}
    assert recent == {one.workspace_id for one in WORLDS}


def test_the_marker_remembers_how_far_the_history_came(tmp_path: Path) -> None:
    """Another run begins where the last one was acknowledged, with the same end of history."""
    first = Marker.read(tmp_path, NOW).reached(5_000)
    again = Marker.read(tmp_path, NOW + timedelta(days=1))
    assert (again.sent, again.until) == (5_000, first.until)
