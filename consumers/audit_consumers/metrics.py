"""Every metric and log event of the worker, by name: the one catalogue, from which the docs table is made."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class WorkerMetrics:
    """The worker's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rows = Counter("audit_worker_rows", "Records that landed, by table.", ["table"], registry=self.registry)
        self.batches = Counter("audit_worker_batches", "Batches that landed.", registry=self.registry)
        self.attempts = Counter(
            "audit_worker_attempts", "Attempts to land a batch, by outcome.", ["outcome"], registry=self.registry
        )
        self.insert_seconds = Histogram(
            "audit_worker_attempt_seconds", "Time of one attempt.", buckets=_SECONDS, registry=self.registry
        )
        self.commit_seconds = Histogram(
            "audit_worker_commit_seconds", "Time of one offset commit.", buckets=_SECONDS, registry=self.registry
        )
        self.commits_refused = Counter(
            "audit_worker_commits_refused", "Commits the group coordinator refused.", registry=self.registry
        )
        self.partitions = Gauge(
            "audit_worker_partitions", "Assigned partitions, by status.", ["status"], registry=self.registry
        )
        self.paused = Gauge(
            "audit_worker_paused_partitions", "Assigned partitions that an operator paused.", registry=self.registry
        )
        self.buffered = Gauge("audit_worker_buffered_bytes", "Batches in memory.", registry=self.registry)
        self.linger = Gauge("audit_worker_linger_seconds", "How long a batch waits to fill.", registry=self.registry)
        self.false_watermarks = Counter(
            "audit_worker_false_watermarks",
            "Records older than the published progress: the clocks differ by more than the margin.",
            registry=self.registry,
        )
        self.gaps = Gauge(
            "audit_producer_gaps", "Holes in the producers' numbers that stay open too long.", registry=self.registry
        )
        self.missing_events = Gauge(
            "audit_producer_missing_events", "Events missing in those holes.", registry=self.registry
        )
        self.unwatched = Gauge(
            "audit_producer_unwatched_instances",
            "Producer instances with too many holes to go on looking.",
            registry=self.registry,
        )
        self.gaps_through = Gauge(
            "audit_producer_gaps_through_seconds",
            "Holes are looked for in all that was stored before this moment, in seconds since 1970.",
            registry=self.registry,
        )


__all__ = ["WorkerMetrics"]
