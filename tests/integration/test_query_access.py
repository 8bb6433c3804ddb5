"""Who may read what: credentials, scopes, plans, and one workspace never seeing another."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_infra.access import Scope
from tests.builders import NOON, event
from tests.support.query_service import JWT_SECRET, QueryService

ENDPOINTS = (
    "/v1/events",
    "/v1/events/{id}",
    "/v1/events?user=u1",
    "/v1/events?event=file.downloaded",
    "/v1/events?category=files",
    "/v1/facets/users",
    "/v1/facets/users?search=a",
    "/v1/facets/events",
    "/v1/export?format=csv",
    "/v1/gaps",
)


def test_a_request_without_a_good_credential_is_refused(query: QueryService) -> None:
    """Unknown, revoked and expired keys and a page cookie get the same 401 from the API."""
    made = query.access.create_key("w1", [Scope.READ])
    query.access.revoke_key(made.key.id)
    expired = query.access.create_key("w1", [Scope.READ], expires_at=NOON)
    browser = query.browser()
    answers = [
        query.guest().get("/v1/events"),
        query.guest().get("/v1/events", headers={"X-API-Key": "alk_unknown"}),
        query.guest().get("/v1/events", headers={"X-API-Key": made.secret}),
        query.guest().get("/v1/events", headers={"Authorization": f"Bearer {expired.secret}"}),
        browser.get("/v1/events"),
    ]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["title"] == "No valid credential"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"exp": NOON + timedelta(minutes=16)}, 401),
        ({"exp": NOON}, 401),
        ({"aud": "another"}, 401),
        ({"iss": "another"}, 401),
        ({"sub": None}, 401),
        ({"workspace": "unknown"}, 403),
        ({"scopes": []}, 403),
        ({"scopes": 5}, 401),
    ],
)
def test_a_token_of_the_host_product_must_be_in_order(query: QueryService, change: dict[str, Any], status: int) -> None:
    """Issuer, audience, subject and a lifetime of at most 15 minutes are required; unknown workspaces are 403."""
    claims = {
        "iss": "portal",
        "aud": "audit-log",
        "sub": "u1",
        "workspace": "w1",
        "exp": NOON + timedelta(minutes=5),
    } | change
    token = jwt.encode({name: value for name, value in claims.items() if value is not None}, JWT_SECRET, "HS256")
    answer = query.guest().get("/v1/events", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == status, answer.text


def test_a_token_signed_with_nothing_or_another_key_is_refused(query: QueryService) -> None:
    """`alg: none` and foreign signatures open nothing."""
    claims = {"iss": "portal", "aud": "audit-log", "sub": "u1", "workspace": "w1", "exp": NOON + timedelta(minutes=5)}
    for token in (jwt.encode(claims, "", "none"), jwt.encode(claims, "some other secret of enough bytes", "HS256")):
        answer = query.guest().get("/v1/events", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401


def test_each_scope_opens_only_its_own(query: QueryService) -> None:
    """A key that writes can't read, and one that reads can't export."""
    writer, reader = query.client(scopes=[Scope.WRITE]), query.client(scopes=[Scope.READ])
    for address in ENDPOINTS:
        refused = writer.get(address.format(id=uuid.uuid4()))
        assert refused.status_code == 403, address
        assert refused.json()["type"] == "urn:audit-log:problem:forbidden"
    assert reader.get("/v1/events").status_code == 200
    assert reader.get("/v1/export?format=csv").status_code == 403


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mine=st.integers(0, 4), theirs=st.integers(1, 4))
def test_no_endpoint_shows_another_workspace(query: QueryService, mine: int, theirs: int) -> None:
    """Two workspaces with the same users and times: nothing of one appears in any answer to the other."""
    me, they = query.workspace(f"me-{uuid.uuid4()}"), query.workspace(f"they-{uuid.uuid4()}")
    secret = f"secret{uuid.uuid4().hex}"
    own = [event(workspace_id=me, occurred_at=NOON - timedelta(seconds=n)) for n in range(mine)]
    foreign = [
        event(
            workspace_id=they,
            occurred_at=NOON - timedelta(seconds=n),
            actor={"type": "internal_user", "id": "u1", "name": secret, "email": f"{secret}@example.com"},
            event_type=f"custom.{secret}",
            label=secret,
            targets=[{"type": "file", "id": secret, "name": secret}],
            metadata={"note": secret},
        )
        for n in range(theirs)
    ]
    query.tables.put(*own, *foreign)
    client = query.client(me)
    for address in ENDPOINTS:
        for shown in (address.format(id=foreign[0].event_id), address.format(id=foreign[0].event_id) + "&workspace=x"):
            text = client.get(shown).text
            assert secret not in text
            assert they not in text
    assert client.get(f"/v1/events/{foreign[0].event_id}").status_code == 404
    assert len(client.get("/v1/events").json()["data"]) == mine
    browser = query.browser(me)
    there = foreign[0].event_id
    for address in (
        *("", "?user=u1", f"?show={there}", f"/events/{there}", "/activity", "/newer"),
        *("/choose/user", "/choose/event", "/choose/target"),
    ):
        assert secret not in browser.get(f"/audit-log{address}").text


def test_without_the_scope_for_personal_data_it_is_masked_everywhere(query: QueryService) -> None:
    """E-mail, address and user agent are hidden in JSON, in facets and in CSV, with their copies in other fields."""
    query.tables.put(
        event(metadata={"sent_to": "ada@example.com", "from": "203.0.113.7"}),
        event(
            actor={"type": "anonymous", "name": "eve@example.com", "email": "eve@example.com"},
            occurred_at=NOON - timedelta(seconds=1),
        ),
    )
    client = query.client(scopes=[Scope.READ, Scope.EXPORT])
    for address in ("/v1/events", "/v1/facets/users", "/v1/export?format=csv"):
        text = client.get(address).text
        for hidden in ("ada@example.com", "eve@example.com", "203.0.113.7", "Mozilla"):
            assert hidden not in text, address
    assert client.get("/v1/facets/users?search=ada@ex").json()["data"] == []
    assert len(client.get("/v1/facets/users?search=Ada").json()["data"]) == 1
    assert "ada@example.com" in query.client().get("/v1/events").text


class TestPreview:
    """Plans that show the last 24 hours."""

    @pytest.fixture
    def old_and_new(self, query: QueryService) -> tuple[str, str]:
        """An event just outside the window and one just inside; the workspace w1 is put on starter."""
        query.access.set_plan("w1", "starter")
        new = event(occurred_at=NOON - timedelta(hours=24))
        old = event(
            occurred_at=NOON - timedelta(hours=24, microseconds=1),
            event_type="custom.olden",
            label="Olden",
            actor={"type": "client", "id": "old-client", "name": "Olden Days"},
        )
        query.tables.put(old, new)
        return old.event_id, new.event_id

    @pytest.mark.parametrize("plan", ["free", "starter", "professional"])
    def test_shows_the_last_day_and_says_so(self, query: QueryService, old_and_new: tuple[str, str], plan: str) -> None:
        """Only the window is visible, and the answer names plan, window and the way to more."""
        query.access.set_plan("w1", plan)
        answer = query.client().get("/v1/events").json()
        assert [row["event_id"] for row in answer["data"]] == [old_and_new[1]]
        assert answer["preview"] == {
            "since": "2026-03-13T12:00:00.000000Z",
            "plan": plan,
            "clamped": False,
            "upgrade_url": "/upgrade?workspace=w1",
        }

    def test_clamps_a_range_that_reaches_further(self, query: QueryService, old_and_new: tuple[str, str]) -> None:
        """A longer range is cut and marked; a wholly older one is empty; neither is an error."""
        client = query.client()
        longer = client.get("/v1/events?since=7d").json()
        assert [row["event_id"] for row in longer["data"]] == [old_and_new[1]]
        assert longer["preview"]["clamped"] is True
        older = client.get("/v1/events?since=2026-03-01T00:00:00Z&until=2026-03-02T00:00:00Z")
        assert older.status_code == 200
        assert older.json()["data"] == []
        assert older.json()["preview"]["clamped"] is True
        assert client.get("/v1/events?since=1h").json()["preview"]["clamped"] is False

    def test_hides_older_events_like_unknown_ones(self, query: QueryService, old_and_new: tuple[str, str]) -> None:
        """The answers for an older id and for one that never was are the same, but for the request's id."""
        client = query.client()

        def shape(identity: str) -> tuple[int, str]:
            answer = client.get(f"/v1/events/{identity}")
            return answer.status_code, re.sub(r'"request_id":"\w+"', "", answer.text)

        assert shape(old_and_new[0]) == shape(str(uuid.uuid4())) == shape("no-id")
        assert shape(old_and_new[0])[0] == 404
        assert client.get(f"/v1/events/{old_and_new[0]}").json()["upgrade_url"] == "/upgrade?workspace=w1"

    def test_says_nothing_of_older_users_and_types(self, query: QueryService, old_and_new: tuple[str, str]) -> None:
        """Facets know only the window."""
        client = query.client()
        for address in ("/v1/facets/users", "/v1/facets/events", "/v1/facets/users?search=olden"):
            assert "lden" not in client.get(address).text
        assert len(client.get("/v1/facets/users").json()["data"]) == 1

    def test_does_not_export(self, query: QueryService, old_and_new: tuple[str, str]) -> None:
        """Exports are 403 with the way to more, from the API and from the page."""
        answer = query.client().get("/v1/export?format=csv")
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:audit-log:problem:plan-limited"
        assert answer.json()["upgrade_url"] == "/upgrade?workspace=w1"
        assert query.browser().get("/audit-log/export").status_code == 403

    def test_is_counted_from_now_even_with_a_cursor(self, query: QueryService) -> None:
        """A cursor made when an event was visible does not show it an hour later, nor after a change of plan."""
        query.tables.put(*(event(occurred_at=NOON - timedelta(hours=hour)) for hour in (1, 22, 23)))
        client = query.client()
        address = client.get("/v1/events?limit=1").json()["next"]
        assert len(client.get(address.replace("limit=1", "limit=9")).json()["data"]) == 2
        query.access.set_plan("w1", "professional")
        assert len(client.get(address.replace("limit=1", "limit=9")).json()["data"]) == 2
        query.clock.now = NOON + timedelta(hours=1, seconds=1)
        assert len(client.get(address.replace("limit=1", "limit=9")).json()["data"]) == 1
        query.access.set_plan("w1", "advanced")
        assert len(client.get(address.replace("limit=1", "limit=9")).json()["data"]) == 2


def test_answers_are_never_kept_by_caches(query: QueryService) -> None:
    """Answers that hold events say no-store and no sniffing."""
    for address in ("/v1/events", "/v1/facets/users", "/v1/export?format=csv"):
        headers = query.client().get(address).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_session_needs_its_form_token(query: QueryService) -> None:
    """A form from elsewhere, or without the token, changes nothing; the right one does."""
    browser = query.browser()
    page = browser.get("/upgrade").text
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found
    token, own = found[1], {"Origin": query.url, "Sec-Fetch-Site": "same-origin"}
    other = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    attempts: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"plan": "starter"}, own),
        ({"plan": "starter", "form_token": token}, other),
        ({"plan": "starter", "form_token": token}, {}),
        ({"plan": "starter", "form_token": token[:-2] + "xx"}, own),
    ]
    for form, headers in attempts:
        assert browser.post("/upgrade", data=form, headers=headers).status_code == 403
        assert query.access.get_workspace("w1").plan == "enterprise"
    assert browser.post("/upgrade", data={"plan": "starter", "form_token": token}, headers=own).status_code == 200
    assert query.access.get_workspace("w1").plan == "starter"


def test_signing_in_leaves_the_code_behind(query: QueryService) -> None:
    """The link answers with a clean address and a cookie that scripts and other sites don't get; a used code is 401."""
    once = query.access.create_sign_in_code("w1", "u1", "Ada", "ada@example.com", now=NOON)
    client = query.guest()
    answer = client.get(f"/audit-log/sign-in?code={once}")
    assert answer.status_code == 303
    assert "code" not in answer.headers["location"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert client.get("/audit-log").status_code == 200
    assert client.get(f"/audit-log/sign-in?code={once}").status_code == 401
    late = query.access.create_sign_in_code("w1", "u1", "Ada", "ada@example.com", now=NOON - timedelta(seconds=61))
    assert client.get(f"/audit-log/sign-in?code={late}").status_code == 401
    query.clock.now = NOON + timedelta(hours=13)
    assert client.get("/audit-log").status_code == 401


def test_the_host_product_posts_its_token_for_a_session(query: QueryService) -> None:
    """A posted token becomes a session; in an address it is nothing."""
    claims = {"iss": "portal", "aud": "audit-log", "sub": "u1", "workspace": "w1", "exp": NOON + timedelta(minutes=5)}
    token = jwt.encode(claims, JWT_SECRET, "HS256")
    client = query.guest()
    assert client.get(f"/audit-log?token={token}").status_code == 401
    assert client.post("/audit-log/session", data={"token": "nonsense"}).status_code == 401
    assert client.post("/audit-log/session", data={"token": token}).status_code == 303
    assert client.get("/audit-log").status_code == 200
