"""Workspaces, keys, codes, sessions: what opens, what does not, and what is never kept."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_infra.access import (
    PAGE_SCOPES,
    Access,
    AccessError,
    ControlUnavailable,
    Forbidden,
    Principal,
    Scope,
    Sessions,
    Signer,
    Unauthenticated,
)
from audit_infra.access.lifetimes import expiry

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "made" / "on the way" / "control.db"


@pytest.fixture
def access(file: Path) -> Iterator[Access]:
    """A new database in a folder that does not exist yet, with the workspace w1."""
    found = Access.open(f"sqlite:///{file}")
    found.create_workspace("w1", "starter", "One", now=NOW)
    yield found
    found.close()


def test_workspaces_are_made_listed_and_moved_to_other_plans(access: Access) -> None:
    """Ids are unique; unknown plans, bad ids and unknown workspaces are refused with a sentence."""
    access.create_workspace("w0", "enterprise")
    assert [one.id for one in access.list_workspaces()] == ["w0", "w1"]
    assert access.get_workspace("w1").created_at == NOW
    assert access.set_plan("w1", "advanced").plan == "advanced"
    attempts: tuple[Callable[[], object], ...] = (
        lambda: access.create_workspace("w1", "starter"),
        lambda: access.create_workspace("", "starter"),
        lambda: access.create_workspace("no blanks", "starter"),
        lambda: access.create_workspace("w" * 65, "starter"),
        lambda: access.create_workspace("w2", "gold"),
        lambda: access.set_plan("w1", "gold"),
        lambda: access.set_plan("nowhere", "starter"),
        lambda: access.get_workspace("nowhere"),
    )
    for attempt in attempts:
        with pytest.raises(AccessError):
            attempt()


def test_a_key_opens_its_workspace_until_it_expires_or_is_revoked(access: Access) -> None:
    """It brings its scopes and its app; afterwards it is like any unknown text."""
    made = access.create_key("w1", [Scope.READ], "ci", "app1", expires_at=NOW + timedelta(hours=1))
    principal = access.authenticate_key(made.secret, NOW)
    assert (principal.workspace_id, principal.kind, principal.app_id) == ("w1", "key", "app1")
    assert principal.scopes == {Scope.READ}
    with pytest.raises(Forbidden, match="audit:export"):
        principal.require(Scope.EXPORT)
    with pytest.raises(Unauthenticated):
        access.authenticate_key(made.secret, NOW + timedelta(hours=1))
    access.revoke_key(made.key.id, NOW)
    access.revoke_key(made.key.id, NOW + timedelta(hours=1))
    assert access.list_keys("w1")[0].revoked_at == NOW
    with pytest.raises(Unauthenticated):
        access.authenticate_key(made.secret, NOW)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: access.create_key("w1", ["audit:everything"]),
        lambda: access.create_key("w1", []),
        lambda: access.create_key("nowhere", [Scope.READ]),
        lambda: access.revoke_key("nothing"),
    )
    for attempt in attempts:
        with pytest.raises(AccessError):
            attempt()


def test_no_secret_is_kept(access: Access, file: Path) -> None:
    """The database holds neither keys nor codes, only their hashes; a key shows its first characters."""
    key = access.create_key("w1", [Scope.READ])
    code = access.create_sign_in_code("w1", "u1", "Ada", "ada@example.com")
    with sqlite3.connect(file) as connection:
        everything = "\n".join(connection.iterdump())
    connection.close()
    assert key.secret not in everything
    assert code not in everything
    assert key.secret.startswith(key.key.prefix)
    assert len(key.key.prefix) <= 12 < len(key.secret)


def test_a_code_works_once_within_a_minute(access: Access) -> None:
    """A reusable one works on, until all are forgotten."""
    code = access.create_sign_in_code("w1", "u1", "Ada", "ada@example.com", now=NOW)
    principal = access.redeem_sign_in_code(code, NOW + timedelta(seconds=60))
    assert (principal.subject, principal.name, principal.scopes) == ("u1", "Ada", PAGE_SCOPES)
    late = access.create_sign_in_code("w1", "u1", "Ada", "ada@example.com", now=NOW)
    again = access.create_sign_in_code("w1", "u1", "Ada", "ada@example.com", reusable=True, now=NOW)
    for attempt, at in ((code, NOW), (late, NOW + timedelta(seconds=61)), ("nonsense", NOW)):
        with pytest.raises(Unauthenticated):
            access.redeem_sign_in_code(attempt, at)
    for hours in range(3):
        access.redeem_sign_in_code(again, NOW + timedelta(hours=hours))
    access.forget_sign_in_codes()
    with pytest.raises(Unauthenticated):
        access.redeem_sign_in_code(again, NOW)


def test_two_who_redeem_one_code_at_once_are_not_both_let_in(access: Access) -> None:
    """However many try together, one gets in."""
    code = access.create_sign_in_code("w1", "u1", "Ada", "ada@example.com", now=NOW)
    start, entered = threading.Barrier(8), []

    def attempt() -> None:
        start.wait()
        try:
            entered.append(access.redeem_sign_in_code(code, NOW))
        except (Unauthenticated, ControlUnavailable):
            return

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entered) == 1


def test_a_database_that_cannot_be_used_is_said_in_a_sentence(tmp_path: Path) -> None:
    """An unusable file is a state that may pass, not a stack trace."""
    (tmp_path / "control.db").mkdir()
    with pytest.raises(ControlUnavailable, match="can't be used"):
        Access.open(f"sqlite:///{tmp_path}/control.db")


@given(st.text(max_size=50), st.text(max_size=50), st.sets(st.sampled_from(list(Scope))))
def test_a_session_cookie_tells_who_it_is_until_it_expires(subject: str, name: str, scopes: set[Scope]) -> None:
    """Round trip under rotated keys; changed, foreign and old cookies are refused."""
    who = Principal("w1", "user", subject, name, f"{name}@example.com", frozenset(scopes))
    cookie = Sessions(["old key"]).cookie(who, NOW)
    rotated = Sessions(["new key", "old key"])
    assert rotated.principal(cookie, NOW + timedelta(hours=11)) == who
    for sessions, text, at in (
        (rotated, cookie, NOW + timedelta(hours=12)),
        (Sessions(["new key"]), cookie, NOW),
        (rotated, ("A" if cookie[0] != "A" else "B") + cookie[1:], NOW),
        (rotated, Signer(["old key"], "cursor").sign(b"{}"), NOW),
        (rotated, "ä", NOW),
    ):
        with pytest.raises(Unauthenticated):
            sessions.principal(text, at)


def test_a_form_token_belongs_to_one_session() -> None:
    """The token of another session, or none, is refused."""
    sessions = Sessions(["a key"])
    token = sessions.form_token("cookie one")
    assert sessions.form_is_ours("cookie one", token)
    assert not sessions.form_is_ours("cookie two", token)
    assert not sessions.form_is_ours("cookie one", "")


def test_when_a_key_expires_is_a_span_or_an_instant_ahead() -> None:
    """Everything else is refused with a sentence that shows both."""
    assert expiry("15m", NOW) == NOW + timedelta(minutes=15)
    assert expiry("12h", NOW) == NOW + timedelta(hours=12)
    assert expiry("30d", NOW) == NOW + timedelta(days=30)
    assert expiry("2026-03-14T14:00:00+01:00", NOW) == NOW + timedelta(hours=1)
    for wrong in (
        "",
        "0d",
        "30",
        "-1d",
        "30 d",
        "1y",
        "99999999d",
        "2026-03-14",
        "2026-03-15T00:00:00",
        NOW.isoformat(),
    ):
        with pytest.raises(AccessError, match="no span such as 30d"):
            expiry(wrong, NOW)


def run(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"AUDIT_CONTROL_DATABASE_URL": f"sqlite:///{file}", "AUDIT_SELF_AUDIT": "0"}
    command = [sys.executable, "-m", "audit_cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_command_line_manages_workspaces_and_keys(tmp_path: Path) -> None:
    """Create, list, set-plan, revoke; mistakes are told in a sentence with a status of 1."""
    file = tmp_path / "control.db"
    assert run(file, "workspaces", "create", "w1", "starter", "--name", "One").returncode == 0
    assert run(file, "workspaces", "set-plan", "w1", "advanced").stdout == "w1 is on advanced\n"
    listed = json.loads(run(file, "workspaces", "list", "--json").stdout)
    assert listed == [{"id": "w1", "name": "One", "plan": "advanced"}]
    made = run(file, "keys", "create", "w1", "--scope", "audit:read", "--expires", "30d")
    assert ", until 20" in made.stderr
    secret = made.stdout.strip()
    key = json.loads(run(file, "keys", "list", "--json").stdout)[0]
    assert secret.startswith(key["prefix"])
    left = datetime.fromisoformat(key["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
    assert run(file, "keys", "revoke", key["id"]).returncode == 0
    assert json.loads(run(file, "keys", "list", "--json").stdout)[0]["revoked"] is True
    wrong = run(file, "workspaces", "set-plan", "w1", "gold")
    assert wrong.returncode == 1
    assert "there is no plan 'gold'" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_the_query_service_reports_all_bad_settings_at_once() -> None:
    """Status 78 with every problem named and no value shown; with good ones --check prints them, secrets masked."""
    command = [sys.executable, "-m", "audit_cli", "query", "--check"]
    bad = {"AUDIT_SIGNING_KEYS": "short secret", "AUDIT_QUERY_PORT": "http", "AUDIT_CLICKHOUSE_URL": "ftp://x"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIT_")}
    refused = subprocess.run(command, capture_output=True, text=True, env=environment | bad, check=False)
    assert refused.returncode == 78
    for name in bad:
        assert name in refused.stderr
    assert "short secret" not in refused.stderr
    good = {"AUDIT_SIGNING_KEYS": "a key of enough characters", "AUDIT_LOCAL": "1"}
    shown = subprocess.run(command, capture_output=True, text=True, env=environment | good, check=False)
    assert shown.returncode == 0
    effective = json.loads(shown.stdout)
    assert effective["local"] is True
    assert "enough" not in shown.stdout
