"""Which export a worker goes on with, and when it takes one over."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from audit_query.exports.choosing import Candidate, Watch, choose

LONGEST_MS = 600_000


def job(id_: str, workspace: str = "w1", state: str = "queued", **changes: Any) -> Candidate:
    values = {"worker": None, "generation": 0, "beat": 0, "requested_at": 0, "not_before": 0} | changes
    return Candidate(id=id_, workspace_id=workspace, state=state, **values)  # type: ignore[arg-type]  # a test's words


def next_of(*candidates: Candidate, turns: dict[str, int] | None = None, now: int = 0, **options: Any) -> str | None:
    found = choose(
        candidates,
        turns or {},
        options.get("abandoned", ()),
        now_ms=now,
        running=options.get("running", 2),
        longest_wait_ms=LONGEST_MS,
    )
    return None if found is None else found.id


def test_what_was_asked_for_first_comes_first() -> None:
    """What runs before what waits: it is finished before more is begun."""
    assert next_of(job("b", requested_at=1), job("a", requested_at=2)) == "b"
    assert next_of(job("b", requested_at=1), job("a", requested_at=2, state="running")) == "a"
    assert next_of() is None


def test_the_workspace_whose_turn_was_longest_ago_is_next() -> None:
    """One that never had a turn comes before all."""
    assert next_of(job("a", "w1"), job("b", "w2", requested_at=9), turns={"w1": 5, "w2": 4}) == "b"
    assert next_of(job("a", "w1"), job("b", "w2", requested_at=9), turns={"w1": 1}) == "b"


def test_no_more_of_a_workspace_run_than_may() -> None:
    """Those that another worker holds count too."""
    running = [job(f"r{number}", state="running", worker="x") for number in range(2)]
    assert next_of(*running, job("a")) is None
    assert next_of(*running, job("a"), running=3) == "a"
    assert next_of(*running, job("b", "w2")) == "b"


def test_what_somebody_holds_is_left_alone_until_it_is_abandoned() -> None:
    """Then it is like any other."""
    held = job("a", state="running", worker="x")
    assert next_of(held) is None
    assert next_of(held, abandoned={"a"}) == "a"


def test_a_failed_attempt_waits_unless_the_clock_was_set_back() -> None:
    """No wait is longer than the longest."""
    waiting = job("a", not_before=1000)
    assert next_of(waiting, now=999) is None
    assert next_of(waiting, now=1000) == "a"
    assert next_of(waiting, now=1000 - LONGEST_MS) is None
    assert next_of(waiting, now=999 - LONGEST_MS) == "a"


@given(st.lists(st.integers(1, 5), min_size=2, max_size=6), st.integers(1, 60))
def test_every_workspace_gets_its_turn(parts: list[int], rounds: int) -> None:
    """While there is work for all, no workspace has two turns between two of another, whatever it has queued."""
    turns: dict[str, int] = {}
    order = []
    for turn in range(1, rounds + 1):
        jobs = [job(f"{w}-{n}", f"w{w}", requested_at=n) for w, count in enumerate(parts) for n in range(count)]
        found = choose(jobs, turns, (), now_ms=0, running=2, longest_wait_ms=LONGEST_MS)
        assert found is not None
        turns[found.workspace_id] = turn
        order.append(found.workspace_id)
    for first, second in zip(order, order[len(parts) :], strict=False):
        assert first == second


def test_a_lease_is_lost_by_silence_alone() -> None:
    """It counts from when the number was first seen; every beat, and every other claim, begins anew."""
    watch = Watch(10)
    held = job("a", state="running", worker="x", generation=1, beat=3)
    assert watch.abandoned([held], 100) == set()
    assert watch.abandoned([held], 109.9) == set()
    assert watch.abandoned([held], 110) == {"a"}
    beaten = job("a", state="running", worker="x", generation=1, beat=4)
    assert watch.abandoned([beaten], 111) == set()
    assert watch.abandoned([beaten], 121) == {"a"}
    assert watch.abandoned([job("a", state="running", worker="y", generation=2, beat=4)], 122) == set()


def test_a_lease_that_was_given_back_is_forgotten() -> None:
    """Held again under the same numbers much later, it is as fresh as any."""
    watch = Watch(10)
    held = job("a", state="running", worker="x", generation=1)
    watch.abandoned([held], 0)
    watch.abandoned([job("a", state="running", generation=1)], 5)
    assert watch.abandoned([held], 20) == set()
