"""Following what a real worker brings from Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit_schemas.codec import encode, frame
from tests.builders import event
from tests.support.pipeline import Pipeline
from tests.support.query_service import QueryService
from tests.support.streams import FAST, EventStream

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import ClickHouseServer, KafkaServer

TOPICS = ("files", "crm", "tasks")


def send(pipeline: Pipeline, count: int) -> list[str]:
    """Events of w1 in three topics and two partitions, with a record that is none among them."""
    sent = [event(category=TOPICS[number % 3]) for number in range(count)]
    for number, one in enumerate(sent):
        pipeline.produce(one.category, frame(encode(one)), partition=number % 2)
    pipeline.produce("files", b"not an event", partition=0)
    pipeline.flush()
    return [one.event_id for one in sent]


def test_a_stream_shows_what_the_worker_stores(
    kafka: KafkaServer, clickhouse: ClickHouseServer, topic_prefix: str, database: str, tmp_path: Path
) -> None:
    """From the first record of a new topic on, over a kill of the worker and a cut of the stream: each event once."""
    pipeline = Pipeline(kafka, clickhouse, topic_prefix, database, tmp_path, partitions=2)
    service = QueryService(
        clickhouse.url, database, tmp_path, overrides=FAST | {"topic_prefix": topic_prefix, "stream_check_s": 3600}
    )
    service.workspace()
    try:
        with EventStream(service.client()) as stream:
            stream.opened()
            before = send(pipeline, 9)
            worker = pipeline.worker()
            worker.start()
            assert sorted(stream.ids(9)) == sorted(before)
            worker.kill()
            during = send(pipeline, 9)
            worker.start()
            seen = stream.ids(4)
        after = send(pipeline, 9)
        with EventStream(service.client(), last_id=stream.last_id) as resumed:
            seen += resumed.ids(14)
        assert sorted(seen) == sorted(during + after)
    finally:
        service.close()
        pipeline.close()
