"""What happens to a pipeline in the field: engines die or hang, connections break, workers come, freeze and go."""

from __future__ import annotations

import re
import subprocess
from functools import partial
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from audit_consumers.inspection import states
from audit_consumers.migrate import migrate
from audit_consumers.settings import PipelineSettings
from audit_schemas.errors import Transient
from tests.support.pipeline import Pipeline, WorkerProcess
from tests.support.proxy import Relay
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartClickHouse
    from tests.support.servers import KafkaServer


def has_stored(pipeline: Pipeline, goal: float) -> bool:
    return sum(pipeline.stored()) >= goal


def has_cut(relay: Relay, times: int) -> bool:
    return relay.cuts >= times


def lives_for(process: WorkerProcess, seconds: float) -> None:
    """Lets a worker work for a while; fails when it ends by itself."""
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(seconds)


@pytest.mark.timeout(240)
def test_an_engine_killed_during_inserts_loses_and_doubles_nothing(
    kafka: KafkaServer, start_clickhouse: StartClickHouse, topic_prefix: str, tmp_path: Path
) -> None:
    """The worker waits for the engine to come back and settles what was in doubt by looking."""
    engine = start_clickhouse()
    pipeline = Pipeline(kafka, engine, topic_prefix, "audit", tmp_path, overrides={"AUDIT_BATCH_ROWS": "1000"})
    pipeline.send_events(60_000)
    worker = pipeline.worker()
    worker.start()
    try:
        for share in (0.1, 0.3, 0.5, 0.7):
            goal = share * pipeline.sent
            eventually(partial(has_stored, pipeline, goal), 60, "progress", ignore=(Transient,))
            engine.kill()
            engine.start()
        pipeline.wait_for_all()
        pipeline.prove()
        assert worker.running
    finally:
        pipeline.close()


@pytest.mark.timeout(180)
def test_connections_cut_during_and_after_inserts(shared_pipeline: Pipeline) -> None:
    """Requests cut in the middle and answers that never arrive leave no trace but time."""
    pipeline = shared_pipeline
    host, port = pipeline.clickhouse.url.removeprefix("http://").split(":")
    relay = Relay((host, int(port)))
    worker = pipeline.worker(AUDIT_CLICKHOUSE_URL=f"http://127.0.0.1:{relay.port}")
    worker.start()
    pipeline.send_events(5_000)
    pipeline.wait_for_all()
    for fault in ("cut_after", "swallow_answers"):
        setattr(relay, fault, 50_000 if fault == "cut_after" else True)
        before = relay.cuts
        pipeline.send_events(8_000)
        eventually(partial(has_cut, relay, before + 3), 60, f"{fault} has cut connections")
        relay.cut_after, relay.swallow_answers = None, False
        pipeline.wait_for_all()
    pipeline.prove()
    relay.close()


@pytest.mark.timeout(120)
def test_a_worker_stops_in_time_while_the_engine_hangs(shared_pipeline: Pipeline) -> None:
    """Inserts that nobody answers are left to the next owner; the process ends by itself, and nothing is lost."""
    pipeline = shared_pipeline
    worker = pipeline.worker(AUDIT_STOP_TIMEOUT_S="2")
    worker.start()
    pipeline.send_events(2_000)
    pipeline.wait_for_all()
    pipeline.clickhouse.pause()
    try:
        pipeline.send_events(2_000)
        eventually(
            lambda: any(state.intent for state in states(pipeline.settings)),
            20,
            "an insert is on its way",
            interval_seconds=0.1,
        )
        worker.terminate()
        assert worker.wait(10) == 0
    finally:
        pipeline.clickhouse.resume()
    pipeline.worker().start()
    pipeline.wait_for_all()
    pipeline.prove()


@pytest.mark.timeout(180)
def test_a_worker_frozen_past_its_session_does_no_harm(shared_pipeline: Pipeline) -> None:
    """Its partitions go to another worker; when it wakes it commits nothing and takes its place again."""
    pipeline = shared_pipeline
    frozen = pipeline.worker()
    frozen.start()
    pipeline.send_events(20_000)
    eventually(lambda: sum(pipeline.stored()) > 0, 60, "the first worker has begun")
    frozen.pause()
    other = pipeline.worker()
    other.start()
    pipeline.send_events(20_000)
    pipeline.wait_for_all()
    frozen.resume()
    pipeline.send_events(20_000)
    pipeline.wait_for_all()
    pipeline.prove()
    assert frozen.running
    assert other.running


@pytest.mark.timeout(180)
def test_workers_join_and_leave(shared_pipeline: Pipeline) -> None:
    """Partitions move between members while events flow; every stop is graceful."""
    pipeline = shared_pipeline
    first, second = pipeline.worker(), pipeline.worker()
    first.start()
    pipeline.send_events(10_000)
    second.start()
    pipeline.send_events(10_000)
    lives_for(second, 2)
    first.stop()
    pipeline.send_events(10_000)
    third = pipeline.worker()
    third.start()
    pipeline.send_events(10_000)
    lives_for(third, 1)
    second.stop()
    pipeline.wait_for_all()
    pipeline.prove()
    for worker in (first, second):
        assert '"worker stopped"' in worker.log_path.read_text()


@pytest.mark.timeout(90)
def test_missing_servers_are_waited_for_and_refusals_end_the_worker(
    kafka: KafkaServer, start_clickhouse: StartClickHouse, topic_prefix: str, tmp_path: Path
) -> None:
    """No ClickHouse or no Kafka: a clear line and another try. A wrong password: a sentence, and not status 0."""
    engine = start_clickhouse(password="right")
    migrate(PipelineSettings(clickhouse_url=engine.url, clickhouse_password=SecretStr("right")), list)
    env = {
        "AUDIT_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "AUDIT_TOPIC_PREFIX": topic_prefix,
        "AUDIT_CLICKHOUSE_URL": engine.url,
        "AUDIT_CLICKHOUSE_PASSWORD": "right",
    }
    for missing, change in (
        ("ClickHouse", {"AUDIT_CLICKHOUSE_URL": "http://127.0.0.1:9"}),
        ("Kafka", {"AUDIT_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}),
    ):
        waiting = WorkerProcess(env | change, tmp_path / f"no-{missing}.log")
        waiting.start()
        line = f"waiting for {missing}"
        eventually(lambda: line in waiting.end_of_log(), 30, line)  # noqa: B023 - called at once
        assert waiting.running
        waiting.stop()
        assert "Traceback" not in waiting.end_of_log()

    refused = WorkerProcess(env | {"AUDIT_CLICKHOUSE_PASSWORD": "wrong"}, tmp_path / "refused.log")
    status = 0
    try:
        refused.start()
        status = refused.wait(20)
    except RuntimeError as error:  # it ended before it answered
        status = int(re.findall(r"status (\d+)", str(error))[0])
    assert status != 0
    assert "audit-log: " in refused.end_of_log()
    assert "AUTHENTICATION_FAILED" in refused.end_of_log()
    assert "Traceback" not in refused.end_of_log()
