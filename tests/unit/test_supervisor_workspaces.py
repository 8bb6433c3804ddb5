"""The demo workspaces are made once and found again by every later run."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from audit_infra.access import Access, Scope
from audit_local.workspaces import code_of, ensure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def access(tmp_path: Path) -> Iterator[Access]:
    with closing(Access.open(f"sqlite:///{tmp_path}/control.db")) as opened:
        yield opened


def test_there_is_one_workspace_per_plan_each_with_a_key_and_a_link(access: Access) -> None:
    """The keys hold every scope, the links sign in to the workspace they stand beside."""
    found = ensure(access, "http://127.0.0.1:8080", (), NOW)
    assert [one.plan for one in found] == ["starter", "professional", "advanced", "enterprise"]
    for one in found:
        principal = access.authenticate_key(one.api_key, NOW)
        assert (principal.workspace_id, principal.scopes) == (one.id, frozenset(Scope))
        assert one.sign_in_url.startswith("http://127.0.0.1:8080/audit-log/sign-in?code=")
        assert access.redeem_sign_in_code(code_of(one.sign_in_url), NOW).workspace_id == one.id


def test_a_later_run_keeps_keys_and_codes_on_another_port(access: Access) -> None:
    """A script's key and a bookmarked code go on working; only the address follows the port."""
    first = ensure(access, "http://127.0.0.1:8080", (), NOW)
    second = ensure(access, "http://127.0.0.1:20000", first, NOW)
    assert [one.api_key for one in second] == [one.api_key for one in first]
    assert [code_of(one.sign_in_url) for one in second] == [code_of(one.sign_in_url) for one in first]
    assert {one.sign_in_url.split("/audit-log")[0] for one in second} == {"http://127.0.0.1:20000"}
    assert [one.app_key for one in second] == [one.app_key for one in first]
    assert len(access.list_keys()) == 2 * len(first)


def test_what_no_longer_works_is_replaced_and_a_changed_plan_stays(access: Access) -> None:
    """After a revoked key, forgotten codes and a plan switch, everything shown works again."""
    first = ensure(access, "http://127.0.0.1:8080", (), NOW)
    access.revoke_key(access.list_keys(first[0].id)[0].id, NOW)
    access.forget_sign_in_codes()
    access.set_plan(first[0].id, "enterprise")
    second = ensure(access, "http://127.0.0.1:8080", first, NOW)
    assert second[0].plan == "enterprise"
    assert second[0].api_key != first[0].api_key
    assert access.authenticate_key(second[0].api_key, NOW).workspace_id == first[0].id
    assert access.redeem_sign_in_code(code_of(second[0].sign_in_url), NOW).workspace_id == first[0].id
