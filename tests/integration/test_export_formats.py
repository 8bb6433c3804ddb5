"""NDJSON and Parquet: the rows of the API, whatever they hold, read back by what people read them with."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from audit_infra.access import PAGE_SCOPES, Scope
from audit_query.exports.json_lines import COLUMNS
from audit_query.rows import MASK
from audit_schemas.canonical import canonical_json
from tests.builders import NOON, event, events

if TYPE_CHECKING:
    from pathlib import Path

    from audit_schemas.event import Event
    from tests.support.query_service import QueryService

NASTY = 'a"b\\c/\n\r\t\b\f\x01\x7f\u2028é\u202e😀'
REPEATED = [
    event(
        ip=ip,
        user_agent=agent,
        actor={"type": kind, "id": "", "name": name, "email": email},
        metadata={
            "plain": email,
            agent[:40] or "k": [f"x{ip}y", {"deep": f"<{agent}>"[:500], "none": None, "n": 1.5e300}],
            "é": '"],"',
        },
        changes=[{"path": email or "p", "old": f"{email}!", "new": {"a": [agent[:400], True]}}],
        targets=[{"type": "file", "id": NASTY, "name": ""}, {"type": "client", "id": "", "name": NASTY}],
        on_behalf_of={"type": "client", "id": "", "name": NASTY},
        occurred_at=NOON - timedelta(microseconds=number),
        received_at=NOON,
    )
    for number, (ip, agent, kind, name, email) in enumerate(
        [
            ("203.0.113.7", "Mozilla/5.0", "anonymous", "typed", "ada@example.com"),
            ("::1.2.3.4", NASTY, "client", "", NASTY),
            ("::5", "", "client", "Bo", ""),
            ("", '"', "anonymous", "", "\\"),
            ("2001:db8::ffff:1:2", "\n", "system", "x", "/"),
        ]
    )
]


def lines(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.decode().split("\n")[:-1]]


@pytest.mark.parametrize("scopes", [PAGE_SCOPES, (Scope.READ, Scope.EXPORT)], ids=["in the clear", "masked"])
@settings(
    max_examples=6,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=st.lists(events(), min_size=4, max_size=8))
def test_lines_are_the_rows_of_the_api(query: QueryService, scopes: tuple[Scope, ...], drawn: list[Event]) -> None:
    """Each line says what `/v1/events` says of the event, and where Kafka holds it; masked where that is."""
    sent = [*REPEATED, *(one.model_copy(update={"workspace_id": "w1"}) for one in drawn)]
    query.tables.put(*sent)
    client = query.client(scopes=scopes)
    try:
        wanted = client.get("/v1/events?limit=500").json()["data"]
        found = lines(client.get("/v1/export?format=ndjson").content)
    finally:
        query.tables.client.command("TRUNCATE TABLE audit_events")
    places = [one.pop("kafka") for one in found]
    assert found == wanted
    assert len(wanted) > len(REPEATED)
    assert [tuple(one) for one in found] == [COLUMNS[:-1]] * len(wanted)
    assert {place["topic"] for place in places} == {f"audit.{one['category']}" for one in wanted}
    assert {place["topic_id"] for place in places} == {"topic-one"}
    assert len({(place["topic"], place["partition"], place["offset"]) for place in places}) == len(wanted)


def test_columns_are_the_ones_asked_for_in_their_order(query: QueryService) -> None:
    """Of each format its own names, once each; an unknown one is refused, and the nearest is named."""
    query.tables.put(event(event_type="custom.x", label="X"))
    client = query.client()
    named = "columns=label,event_type&columns=label"
    assert client.get(f"/v1/export?format=ndjson&{named}").text == '{"label":"X","event_type":"custom.x"}\n'
    assert client.get("/v1/export?columns=event,actor").text == 'Event,Actor\r\n"X","Ada Lovelace"\r\n'
    parquet = client.get(f"/v1/export?format=parquet&{named}").content
    assert pq.read_table(io.BytesIO(parquet)).to_pylist() == [{"label": "X", "event_type": "custom.x"}]
    for format_, wrong, near in (
        ("csv", "actor_typ", "actor_type"),
        ("ndjson", "actor_id", "actor"),
        ("parquet", "kafka_ofset", "kafka_offset"),
    ):
        refused = client.get(f"/v1/export?format={format_}&columns={wrong}")
        assert refused.status_code == 400
        (fault,) = refused.json()["errors"]
        assert (fault["name"], fault["message"].rpartition("did you mean ")[2]) == ("columns", f"{near}?")
    for wrong in ("raw=1", "bom=1", "header=names"):
        assert client.get(f"/v1/export?format=ndjson&{wrong}").status_code == 400
        assert client.get(f"/v1/export?format=ndjson&{wrong.partition('=')[0]}={_USUAL[wrong]}").status_code == 200


_USUAL = {"raw=1": "0", "bom=1": "0", "header=names": "labels"}


@pytest.mark.parametrize("scopes", [PAGE_SCOPES, (Scope.READ, Scope.EXPORT)], ids=["in the clear", "masked"])
def test_parquet_has_the_same_values_with_types(query: QueryService, tmp_path: Path, scopes: tuple[Scope, ...]) -> None:
    """As pyarrow and DuckDB read it: the values of NDJSON, instants in UTC, lists of records, dictionaries of texts."""
    query.tables.put(*REPEATED, event(targets=[], occurred_at=NOON - timedelta(days=40)))
    client = query.client(scopes=scopes)
    wanted = [flat(one) for one in lines(client.get("/v1/export?format=ndjson").content)]
    content = client.get("/v1/export?format=parquet").content
    file = pq.ParquetFile(io.BytesIO(content))
    assert file.read().to_pylist() == wanted
    schema = file.schema_arrow
    instant = pa.timestamp("us", tz="UTC")
    assert {schema.field(name).type for name in ("occurred_at", "received_at", "accepted_at", "ingested_at")} == {
        instant
    }
    target = pa.struct([(name, pa.string()) for name in ("type", "id", "name")])
    assert schema.field("targets").type.value_type == target
    assert (schema.field("late").type, schema.field("kafka_offset").type) == (pa.bool_(), pa.int64())
    chunk = file.metadata.row_group(0).column(schema.names.index("event_type"))
    assert "RLE_DICTIONARY" in chunk.encodings
    (tmp_path / "log.parquet").write_bytes(content)
    with duckdb.connect() as connection:
        found = connection.sql(
            "SELECT event_id, epoch_us(occurred_at), typeof(occurred_at), len(targets), targets[1].name"
            f" FROM '{tmp_path}/log.parquet' ORDER BY occurred_at DESC"
        ).fetchall()
    assert found == [
        (
            one["event_id"],
            int(one["occurred_at"].timestamp() * 1_000_000),
            "TIMESTAMP WITH TIME ZONE",
            len(one["targets"]),
            one["targets"][0]["name"] if one["targets"] else None,
        )
        for one in wanted
    ]


def flat(line: dict[str, Any]) -> dict[str, Any]:
    """A line of NDJSON as a row of Parquet."""
    found: dict[str, Any] = {}
    for name, value in line.items():
        if name in ("changes", "metadata"):
            found[name] = canonical_json(value)
        elif name.endswith("_at"):
            found[name] = datetime.fromisoformat(value) if value else None
        elif name in ("actor", "on_behalf_of", "producer", "kafka"):
            leaves = value or dict.fromkeys(("type", "id", "name"))
            found |= {f"{name}_{leaf}": inner for leaf, inner in leaves.items()}
        else:
            found[name] = value
    return found


@pytest.mark.parametrize("format_", ["csv", "ndjson", "parquet"])
def test_an_export_of_nothing_is_whole(query: QueryService, format_: str) -> None:
    """A filter that names nothing gives a file that opens: a header, no line, a table without rows."""
    answer = query.client().get(f"/v1/export?format={format_}&user=nobody")
    assert answer.status_code == 200
    if format_ == "parquet":
        assert pq.read_table(io.BytesIO(answer.content)).shape == (0, 36)
    else:
        assert answer.content.count(b"\n") == (format_ == "csv")


def test_what_is_no_json_does_not_break_the_lines(query: QueryService) -> None:
    """A producer without our SDK may have stored anything as metadata: one line each, and a string where it must be."""
    query.tables.put(event())
    stored = {"not json\n": "not json\n", '{"a":\r\n [1]}': {"a": [1]}, "": {}, '{"a":"\\n"}': {"a": "\n"}}
    for text_ in stored:
        query.tables.client.command(
            "INSERT INTO audit_events SELECT * REPLACE (generateUUIDv4() AS event_id, {text:String} AS metadata,"
            " {text:String} AS changes) FROM audit_events LIMIT 1",
            parameters={"text": text_},
        )
    found = lines(query.client().get("/v1/export?format=ndjson&columns=changes,metadata").content)
    assert sorted(json.dumps(one["metadata"]) for one in found) == sorted(
        map(json.dumps, [*stored.values(), {"size": 5}])
    )
    assert sum(one["changes"] == [] for one in found) == 2
    query.tables.client.command(
        "INSERT INTO audit_events SELECT * REPLACE (generateUUIDv4() AS event_id, actor_email AS metadata)"
        " FROM audit_events LIMIT 1"
    )
    masked = query.client(scopes=(Scope.READ, Scope.EXPORT)).get("/v1/export?format=ndjson&columns=metadata")
    assert "ada@example.com" not in masked.text
    assert {"metadata": MASK} in lines(masked.content)
