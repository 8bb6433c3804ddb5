"""What the local broker is told, which Java runs it and which jars it is made of."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from audit_local import java, kafka_jars
from audit_local.kafka_config import BrokerOptions, java_options, logging_properties, properties, server_properties

OPTIONS = BrokerOptions(Path("/data/kafka"), port=19092, controller_port=19093)


def test_only_this_machine_reaches_the_broker() -> None:
    """Every listener, and what clients are told to dial, is on loopback."""
    values = properties(OPTIONS)
    assert values["listeners"] == "PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093"
    assert values["advertised.listeners"] == "PLAINTEXT://127.0.0.1:19092"
    assert values["controller.quorum.voters"] == "1@127.0.0.1:19093"


def test_topics_are_made_on_purpose_and_stamped_by_the_broker() -> None:
    """Freshness counts on append times, and a misspelt topic must not come into being."""
    values = properties(OPTIONS)
    assert values["log.message.timestamp.type"] == "LogAppendTime"
    assert values["auto.create.topics.enable"] == "false"
    assert values["log.retention.hours"] == "168"


@pytest.mark.parametrize("session", [2000, 6000, 30_000])
def test_the_session_asked_for_is_allowed_and_given(session: int) -> None:
    """Kafka refuses to start unless minimum ≤ session and the heartbeat is shorter than the session."""
    values = properties(BrokerOptions(Path("/k"), 1, 2, session_timeout_ms=session))
    number = {name: int(values[f"group.consumer.{name}.ms"]) for name in ("session.timeout", "min.session.timeout")}
    heartbeat = int(values["group.consumer.heartbeat.interval.ms"])
    assert number["min.session.timeout"] <= number["session.timeout"] == session
    assert int(values["group.consumer.min.heartbeat.interval.ms"]) <= heartbeat < session / 3


def test_every_internal_topic_fits_one_node() -> None:
    """A single broker can't hold the three copies that are the default."""
    values = properties(OPTIONS)
    factors = {name: value for name, value in values.items() if name.endswith(("replication.factor", ".min.isr"))}
    assert len(factors) == 6
    assert set(factors.values()) == {"1"}


def test_properties_are_written_one_per_line_with_backslashes_escaped() -> None:
    """Java's properties format reads a backslash as the start of an escape."""
    text = server_properties(BrokerOptions(Path("/odd\\name"), 1, 2))
    assert "log.dirs=/odd\\\\name/data\n" in text
    assert len(text.splitlines()) == len(properties(OPTIONS))


def test_the_broker_logs_into_its_folder_alone() -> None:
    """No console appender: the terminal belongs to the stack."""
    text = logging_properties(OPTIONS)
    assert "appender.file.fileName=/data/kafka/server.log" in text
    assert "Console" not in text


def test_the_heap_is_small_and_new_java_is_kept_quiet() -> None:
    """Half a gigabyte at most; the option that silences Java 24+ does not exist before 23."""
    assert "-Xmx512m" in java_options(OPTIONS, 17)
    assert not [option for option in java_options(OPTIONS, 17) if option.startswith("--")]
    assert "--sun-misc-unsafe-memory-access=allow" in java_options(OPTIONS, 25)


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15\n', 17),
        ('java version "1.8.0_402"\n', 8),
        ('openjdk version "25" 2025-09-16\n', 25),
        ("command not found", None),
    ],
)
def test_the_java_version_is_read_from_its_banner(banner: str, version: int | None) -> None:
    """Old and new forms of the version are understood."""
    assert java.major_version(banner) == version


def test_the_jars_are_pinned_to_one_kafka() -> None:
    """The class path names each jar once, with a SHA-256, Kafka itself first and all of one Kafka version."""
    jars = kafka_jars.pinned()
    assert jars[0].file_name == "kafka_2.13-4.3.0.jar"
    assert len({jar.file_name for jar in jars}) == len(jars)
    assert all(len(jar.sha256) == 64 for jar in jars)
    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {"4.3.0"}


def test_a_jar_cut_short_is_not_taken_for_whole(tmp_path: Path) -> None:
    """A download that was interrupted leaves a file that jgo would use; its hash tells."""
    whole, cut = tmp_path / "whole.jar", tmp_path / "cut.jar"
    whole.write_bytes(b"all of it")
    cut.write_bytes(b"all o")
    (jar,) = kafka_jars.parse(f"# comment\n\ng:a:1 {hashlib.sha256(b'all of it').hexdigest()}\n")
    assert (jar.group, jar.artifact, jar.version) == ("g", "a", "1")
    assert jar.is_at(whole)
    assert not jar.is_at(cut)
    assert not jar.is_at(tmp_path / "missing.jar")
