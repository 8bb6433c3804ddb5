"""How the worker behaves: its settings as the loop needs them, free of where they come from."""

from __future__ import annotations

from dataclasses import dataclass

from audit_consumers.batch import Limits
from audit_consumers.limits import BadRecordLimits
from audit_consumers.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Options:
    """Times in seconds unless named."""

    limits: Limits = Limits()
    flush: float = 1.0
    inserters: int = 2
    intent_max_age_ms: int = 10_000
    max_buffer: int = 256 * 2**20
    stop_timeout: float = 10.0
    margin_ms: int = 1000
    bad: BadRecordLimits = BadRecordLimits()

    @classmethod
    def of(cls, settings: WorkerSettings) -> Options:
        """From the environment's settings."""
        return cls(
            limits=Limits(settings.batch_rows, settings.batch_bytes),
            flush=settings.flush_ms / 1000,
            inserters=settings.inserters,
            intent_max_age_ms=settings.intent_max_age_ms,
            max_buffer=settings.max_buffer_bytes,
            stop_timeout=settings.stop_timeout_s,
            margin_ms=settings.clock_skew_margin_ms,
            bad=BadRecordLimits(settings.bad_record_share, settings.bad_record_window, settings.bad_record_run),
        )


__all__ = ["Options"]
