"""What the local broker is told: its properties, its logging and its Java options, as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NODE_ID = 1


@dataclass(frozen=True)
class BrokerOptions:
    """What may differ between two local brokers; everything else is the same for all of them."""

    folder: Path
    port: int
    controller_port: int
    partitions: int = 1
    session_timeout_ms: int = 6000
    heap_mb: int = 512

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"


def properties(options: BrokerOptions) -> dict[str, str]:
    """One node that is broker and controller (KRaft), reachable from this machine only.

    The voters are given statically: a dynamic quorum writes the controller's port into the metadata log, and the port
    may be another one on the next start.
    """
    session = options.session_timeout_ms
    values: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": NODE_ID,
        "controller.quorum.voters": f"{NODE_ID}@127.0.0.1:{options.controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{options.port},CONTROLLER://127.0.0.1:{options.controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{options.port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(options.folder / "data"),
        # Topics: made by `audit-log topics create` alone, stamped with the broker's clock, kept for a stated time.
        "auto.create.topics.enable": "false",
        "delete.topic.enable": "true",
        "num.partitions": options.partitions,
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "log.message.timestamp.type": "LogAppendTime",
        "log.retention.hours": 7 * 24,
        "log.retention.bytes": -1,
        # Internal topics of a single node: one partition and one copy each.
        "offsets.topic.num.partitions": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # A killed member's partitions go to another within one session. KIP-848 sets both at the broker.
        "group.consumer.min.session.timeout.ms": min(session, 6000),
        "group.consumer.session.timeout.ms": session,
        "group.consumer.min.heartbeat.interval.ms": min(session // 4, 1000),
        "group.consumer.heartbeat.interval.ms": min(session // 4, 1500),
        "group.min.session.timeout.ms": min(session, 6000),
        "group.initial.rebalance.delay.ms": 0,
        # A killed broker is let in again when the session of its former self has expired; the default is 9 s.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # The defaults are made for large machines.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.recovery.threads.per.data.dir": 2,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }
    return {name: str(value) for name, value in values.items()}


def server_properties(options: BrokerOptions) -> str:
    """The same as the text of `server.properties`; a backslash would begin an escape there."""
    return "".join(f"{name}={value}\n".replace("\\", "\\\\") for name, value in properties(options).items())


def logging_properties(options: BrokerOptions) -> str:
    """log4j2: warnings and the broker's own milestones into one small rotated file, nothing on the terminal."""
    log = options.folder / "server.log"
    return f"""\
status=error
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName={log}
appender.file.filePattern={log}.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{{ISO8601}} %p %m (%c)%n
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=2
rootLogger.level=warn
rootLogger.appenderRef.file.ref=file
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
"""


def java_options(options: BrokerOptions, java_version: int) -> tuple[str, ...]:
    """A small heap and the collector that starts fastest: a broker keeps its data in the page cache."""
    return (
        # Kafka unmaps its files through a method that Java 24 and later warn of on every start (JEP 498).
        *(["--sun-misc-unsafe-memory-access=allow"] if java_version >= 24 else []),
        "-server",
        "-Xms128m",
        f"-Xmx{options.heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        "-Xshare:auto",
        "-Djava.awt.headless=true",
        "-Djava.net.preferIPv4Stack=true",
        f"-Dlog4j2.configurationFile={options.folder / 'log4j2.properties'}",
    )


__all__ = [
    "NODE_ID",
    "BrokerOptions",
    "java_options",
    "logging_properties",
    "properties",
    "server_properties",
]
