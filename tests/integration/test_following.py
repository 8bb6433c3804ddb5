"""Following the log: events in order of arrival, each once, resumable, and only for as long as they may be seen."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import jwt
import pytest

from tests.builders import NOON, event
from tests.conftest import run_statement
from tests.support.query_service import JWT_SECRET, QueryService
from tests.support.rows import Tables
from tests.support.streams import FAST, EventStream, land
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartClickHouse
    from tests.support.servers import ClickHouseServer


def test_events_come_as_they_arrive_late_ones_too(live: QueryService) -> None:
    """From now on, in order of arrival, as pages show them; what was there before is not repeated."""
    land(live, event())
    client = live.client()
    with EventStream(client) as stream:
        stream.opened()
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.response.headers["cache-control"] == "no-store"
        assert stream.response.headers["x-accel-buffering"] == "no"
        now = land(live, event(), event())
        late = land(live, event(occurred_at=NOON - timedelta(days=400)), accepted_at=NOON)
        found = [stream.next("audit_event") for _ in range(3)]
        assert [row["event_id"] for row in found if row] == now + late
        pages = {row["event_id"]: row for row in client.get("/v1/events").json()["data"]}
        assert found == [pages[one] for one in now + late]


def test_a_stream_goes_on_where_the_last_one_was_cut(live: QueryService) -> None:
    """By Last-Event-ID or `after`, after any event: nothing is left out or repeated; the header goes first."""
    client = live.client()
    with EventStream(client) as stream:
        begin = stream.opened().last_id
        sent = land(live, *(event() for _ in range(4)))
        assert stream.ids(2) == sent[:2]
    more = land(live, event())
    with EventStream(client, last_id=stream.last_id) as again:
        assert again.ids(3) == sent[2:] + more
    with EventStream(client, f"after={stream.last_id}") as again:
        assert again.ids(3) == sent[2:] + more
    with EventStream(client, f"after={begin}", last_id=stream.last_id) as again:
        assert again.ids(3) == sent[2:] + more
    with EventStream(client, f"after={begin}") as again:
        assert again.ids(5) == sent + more


def test_a_filter_narrows_a_stream(live: QueryService) -> None:
    """The parameters of pages, since and until among them."""
    client = live.client()
    with EventStream(client, "user=u9&category=files&since=2026-03-14T11:00:00Z&until=2026-03-14T13:00:00Z") as stream:
        stream.opened()
        ours = {"actor": {"type": "client", "id": "u9"}}
        land(live, event(), event(**ours, category="crm", event_type="client.created"))
        land(live, event(**ours, occurred_at=NOON - timedelta(hours=2)), event(workspace_id="w2", **ours))
        assert land(live, event(**ours)) == stream.ids(1)


def test_a_position_opens_only_the_stream_it_was_made_for(live: QueryService) -> None:
    """Forged, foreign and re-filtered ones are refused before the stream begins, naming where they stood."""
    live.workspace("w2")
    client, other = live.client(), live.client("w2")
    with EventStream(client) as stream:
        position = stream.opened().last_id
    forged = position[:-3] + ("AAA" if position[-3:] != "AAA" else "BBB")
    page = client.get("/v1/events").json()
    for who, parameters, header, place in (
        (other, f"after={position}", "", "query"),
        (client, f"after={position}&user=u1", "", "query"),
        (client, f"after={forged}", "", "query"),
        (client, "after=abc", "", "query"),
        (client, "", forged, "header"),
        (other, f"after={position}", position, "header"),
    ):
        with EventStream(who, parameters, last_id=header) as refused:
            assert refused.response.status_code == 400, parameters
            (fault,) = refused.response.json()["errors"]
            assert (fault["in"], fault["name"]) == (place, "after" if place == "query" else "Last-Event-ID")
    assert page["data"] == []


def test_what_is_wrong_with_a_stream_is_said_at_once(live: QueryService) -> None:
    """All faults in one 400; no credential 401, no scope 403; a page's own parameters are unknown here."""
    answer = live.client().get("/v1/events/stream?limit=5&cursor=x&category=file&since=yesterday&after=a&after=b")
    assert answer.status_code == 400
    assert {(one["name"], one["code"]) for one in answer.json()["errors"]} == {
        ("limit", "unknown_parameter"),
        ("cursor", "unknown_parameter"),
        ("category", "unknown_value"),
        ("since", "not_a_time"),
        ("after", "repeated"),
    }
    assert live.guest().get("/v1/events/stream").status_code == 401
    assert live.client(scopes={"audit:export"}).get("/v1/events/stream").status_code == 403
    assert live.client().post("/v1/events/stream").status_code == 405


def test_nothing_behind_a_hole_is_passed_on(live: QueryService) -> None:
    """A batch whose ledger row is missing holds back what is stored behind it, and then comes first."""
    client, tables = live.client(), live.tables
    with EventStream(client) as stream:
        stream.opened()
        before = land(live, event())
        first, healed, behind = tables.offset, event(), event()
        tables.put(behind, offset=first + 1)
        tables.ledger((first + 1, first + 1))
        assert stream.ids(1) == before
        while stream.comments < 3:
            line = stream.line()
            assert line is not None
            assert behind.event_id not in line
        tables.put(healed, offset=first)
        tables.ledger((first, first))
        assert stream.ids(2) == [healed.event_id, behind.event_id]


def test_new_partitions_and_recreated_topics_are_followed_from_their_start(live: QueryService) -> None:
    """Whatever they held before the stream heard of them, also when it resumes."""
    client, tables = live.client(), live.tables
    with EventStream(client) as stream:
        stream.opened()
        one, two = event(), event()
        tables.put(one, two, partition=1, offset=None, topic_id="topic-two")
        tables.ledger((0, tables.offset - 1), partition=1, topic_id="topic-two")
        tables.progress(NOON, categories=("files",), partition=1, topic_id="topic-two", end=tables.offset)
        assert stream.ids(2) == [one.event_id, two.event_id]
    again = event()
    tables.put(again, topic_id="topic-three", offset=0)
    tables.ledger((0, 0), topic_id="topic-three")
    tables.progress(NOON, categories=("files",), topic_id="topic-three", end=0)
    with EventStream(client, last_id=stream.last_id) as resumed:
        assert resumed.ids(1) == [again.event_id]


def test_an_event_sent_again_is_shown_once(live: QueryService) -> None:
    """A later copy never comes, in the same stream or a resumed one, nor when only it matches the filter."""
    client = live.client()
    first = event()
    blamed = first.model_copy(update={"actor": first.actor.model_copy(update={"id": "scapegoat"})})
    with EventStream(client) as stream, EventStream(client, "user=scapegoat") as accused:
        stream.opened()
        accused.opened()
        land(live, first, first)
        land(live, blamed, accepted_at=NOON + timedelta(minutes=1))
        own = land(live, event(actor={"type": "client", "id": "scapegoat"}))
        assert stream.ids(2) == [first.event_id, *own]
        assert accused.ids(1) == own
    land(live, first, accepted_at=NOON + timedelta(minutes=2))
    last = land(live, event())
    with EventStream(client, last_id=stream.last_id) as resumed:
        assert resumed.ids(1) == last


def test_a_copy_that_is_stored_before_the_first_one_is_not_followed_by_it(live: QueryService) -> None:
    """Within a connection each event comes once, whichever of its copies was stored first."""
    tables, sent = live.tables, event()
    tables.progress(NOON, categories=("files",), partition=1, end=0)
    with EventStream(live.client()) as stream:
        stream.opened()
        land(live, sent, accepted_at=NOON + timedelta(minutes=1))
        assert stream.ids(1) == [sent.event_id]
        tables.put(sent, accepted_at=NOON, partition=1, offset=0)
        tables.ledger((0, 0), partition=1)
        assert land(live, event()) == stream.ids(1)


def test_personal_data_is_masked_without_the_scope(live: QueryService) -> None:
    """As on pages."""
    with EventStream(live.client(scopes={"audit:read"})) as stream:
        stream.opened()
        land(live, event())
        row = stream.next("audit_event")
        assert row is not None
        assert row["ip"] == row["actor"]["email"] == "•••"


def test_a_stream_ends_when_its_credential_does(live: QueryService) -> None:
    """With a last event `problem`; nothing that arrives afterwards is shown."""
    key = live.access.create_key("w1", ["audit:read"])
    by_key = live.guest(headers={"X-API-Key": key.secret})
    claims = {"iss": "portal", "aud": "audit-log", "sub": "u1", "workspace": "w1"}
    token = jwt.encode(claims | {"exp": int(NOON.timestamp()) + 600}, JWT_SECRET, "HS256")
    by_token = live.guest(headers={"Authorization": f"Bearer {token}"})
    with EventStream(by_key) as one, EventStream(by_token) as other:
        one.opened()
        other.opened()
        live.access.revoke_key(key.key.id)
        problem = one.next("audit_event", "problem")
        assert problem is not None
        assert problem["type"] == "urn:audit-log:problem:unauthenticated"
        assert problem["request_id"] == one.response.headers["x-request-id"]
        assert one.next("audit_event", "problem") is None
        live.clock.now = NOON + timedelta(seconds=601)
        ended = other.next("audit_event", "problem")
        assert ended is not None
        assert ended["detail"] == "the token has expired"
        assert other.next("audit_event", "problem") is None


def test_a_plan_that_becomes_a_preview_clamps_an_open_stream(live: QueryService) -> None:
    """From then on only the last 24 hours from now are shown, and the stream says so; back on the plan, all is."""
    with EventStream(live.client()) as stream:
        stream.opened()
        old = event(occurred_at=NOON - timedelta(hours=25))
        assert land(live, old, accepted_at=NOON) == stream.ids(1)
        live.access.set_plan("w1", "free")
        while (told := stream.next("freshness")) is not None and told["preview"] is None:
            pass
        assert told is not None
        assert told["preview"]["plan"] == "free"
        land(live, event(occurred_at=NOON - timedelta(hours=25)), accepted_at=NOON)
        assert land(live, event(occurred_at=NOON - timedelta(hours=23)), accepted_at=NOON) == stream.ids(1)
        live.clock.now = NOON + timedelta(hours=2)
        land(live, event(occurred_at=NOON - timedelta(hours=23)), accepted_at=NOON)
        live.access.set_plan("w1", "enterprise")
        while (told := stream.next("freshness")) is not None and told["preview"] is not None:
            pass
        assert land(live, event(occurred_at=NOON - timedelta(hours=30)), accepted_at=NOON) == stream.ids(1)


def test_the_window_of_a_preview_moves_with_the_time_not_with_the_checks(
    live: QueryService, clickhouse: ClickHouseServer, database: str, tmp_path: Path
) -> None:
    """What is older than 24 hours when it comes is not shown, though the plan was looked at long ago."""
    service = QueryService(clickhouse.url, database, tmp_path / "rare", overrides=FAST | {"stream_check_s": 3600})
    service.workspace(plan="free")
    service.tables.offset = live.tables.offset
    try:
        with EventStream(service.client()) as stream:
            stream.opened()
            edge = NOON - timedelta(hours=23)
            assert land(service, event(occurred_at=edge), accepted_at=NOON) == stream.ids(1)
            service.clock.now = NOON + timedelta(hours=2)
            land(service, event(occurred_at=edge), accepted_at=NOON)
            assert land(service, event(), accepted_at=NOON) == stream.ids(1)
    finally:
        service.close()


def test_a_stream_says_how_complete_it_is(live: QueryService) -> None:
    """Freshness comes with the first look, and heartbeats while nothing happens."""
    with EventStream(live.client()) as stream:
        stream.opened()
        told = stream.next("freshness")
        assert told is not None
        assert told["complete_through"]["all"] == "2026-03-14T12:00:00.000Z"
        assert told["preview"] is None
        while stream.comments < 2:
            assert stream.line() is not None


def test_a_workspace_has_so_many_streams_and_no_more(live: QueryService) -> None:
    """One too many is 429; a closed connection makes room, and other workspaces have their own."""
    live.workspace("w2")
    client, other = live.client(), live.client("w2")
    with ExitStack() as streams:
        for _ in range(2):
            streams.enter_context(EventStream(client)).opened()
        with EventStream(client) as third:
            third.opened()
            refused = client.get("/v1/events/stream")
            assert refused.status_code == 429
            assert refused.json()["type"] == "urn:audit-log:problem:too-many-streams"
            assert refused.headers["retry-after"] == "5"
            streams.enter_context(EventStream(other)).opened()

        def room() -> bool:
            with EventStream(client) as again:
                return again.response.status_code == 200

        eventually(room, 10, "the place is free again")


def test_a_shutdown_ends_streams_cleanly(live: QueryService, caplog: pytest.LogCaptureFixture) -> None:
    """The connection ends as a complete answer, at once, and the server has nothing to cancel."""
    with EventStream(live.client()) as stream:
        stream.opened()
        live.stop()
        assert stream.next("audit_event", "problem") is None
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_a_stream_outlives_an_outage_of_clickhouse(start_clickhouse: StartClickHouse, tmp_path: Path) -> None:
    """It says that it is there meanwhile, and then shows what came."""
    engine = start_clickhouse()
    run_statement(engine.url, "CREATE DATABASE away")
    tables = Tables(engine.url, "away")
    tables.migrate()
    tables.progress(NOON, end=0)
    tables.close()
    service = QueryService(engine.url, "away", tmp_path, overrides=FAST)
    service.workspace()
    try:
        with EventStream(service.client()) as stream:
            stream.opened()
            before = land(service, event())
            assert stream.ids(1) == before
            engine.kill()
            beats = stream.comments
            while stream.comments < beats + 3:
                assert stream.line() is not None
            engine.start()
            service.tables.close()
            service.tables = Tables(engine.url, "away", offset=service.tables.offset)
            assert land(service, event()) == stream.ids(1)
    finally:
        service.close()
