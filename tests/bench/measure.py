"""CPU and wall time of other processes, read from the kernel."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its threads so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_mib(pid: int) -> float:
    """The largest resident size of a process so far, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


@dataclass(frozen=True)
class Ingestion:
    """One ingestion run. CPU in microseconds per row; `consumer` is 0 where the engine consumes itself."""

    name: str
    rows: int
    seconds: float
    consumer_us: float
    engine_us: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


def until(reached: Callable[[], bool], seconds: float, what: str) -> float:
    """Polls four times a second, since asking costs what is measured; returns the moment when it was reached."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} took more than {seconds:g} s")
        time.sleep(0.25)
    return time.monotonic()


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of the ordered values lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
