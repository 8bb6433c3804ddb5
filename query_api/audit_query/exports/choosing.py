"""Which export a worker goes on with: workspaces take turns, part by part. Pure, but for `Watch`, which remembers.

A lease has no time in it. Its holder counts a number up, the beat; who sees the same number for long enough, by a clock
of its own that only grows, takes the export over. So no jump of any clock, of a worker or of the database, gives an
export to two workers or leaves it with none; and should a holder only have been slow, its writes are refused, since
they name the claim that they belong to (`generation`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job that has not ended. Times in milliseconds since 1970; `worker` is None when nobody holds it."""

    id: str
    workspace_id: str
    state: Literal["queued", "running"]
    worker: str | None
    generation: int
    beat: int
    requested_at: int
    not_before: int


def choose(
    candidates: Sequence[Candidate],
    turns: Mapping[str, int],
    abandoned: Collection[str],
    *,
    now_ms: int,
    running: int,
    longest_wait_ms: int,
) -> Candidate | None:
    """The next one to be worked on, None when there is nothing to do.

    `turns` says when each workspace had its last turn, counted over all claims: the longest ago comes first. Of one
    workspace what runs comes before what waits, and at most `running` run. `abandoned` are held by nobody who beats.
    After a failure an export waits until its `not_before`; when that is further away than any wait is long, the clock
    was set back, and it waits no longer.
    """
    busy = Counter(one.workspace_id for one in candidates if one.state == "running")
    free = [
        one
        for one in candidates
        if (one.worker is None or one.id in abandoned)
        and not now_ms < one.not_before <= now_ms + longest_wait_ms
        and (one.state == "running" or busy[one.workspace_id] < running)
    ]
    order = {"running": 0, "queued": 1}
    return min(
        free,
        key=lambda one: (turns.get(one.workspace_id, 0), order[one.state], one.requested_at, one.id),
        default=None,
    )


class Watch:
    """Remembers since when each lease has not been renewed, in seconds of a clock that only grows."""

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}

    def abandoned(self, candidates: Sequence[Candidate], monotonic: float) -> set[str]:
        """Those whose holder has not beaten for as long as a lease holds, as far as was seen from here."""
        seen = {}
        for one in candidates:
            if one.worker is not None:
                lease, since = self._seen.get(one.id, ((-1, -1), 0.0))
                same = lease == (one.generation, one.beat)
                seen[one.id] = ((one.generation, one.beat), since if same else monotonic)
        self._seen = seen
        return {id_ for id_, (_, since) in seen.items() if monotonic - since >= self._lease_s}


__all__ = ["Candidate", "Watch", "choose"]
