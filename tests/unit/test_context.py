"""The values of a request: nested, filled in, and never those of another."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from audit_producers.context import Context, audit_context, carried, current, filled, set_actor, update_context

ADA = {"type": "internal_user", "id": "u1"}
BOB = {"type": "client", "id": "c1"}


def test_inner_fields_win_and_the_others_are_inherited() -> None:
    """Contexts nest, None takes a value away, and each end gives back what was before."""
    with audit_context(request_id="r1", actor=ADA, source="web"):
        with audit_context(actor=BOB, session_id="s1", source=None):
            assert current() == Context(request_id="r1", actor=BOB, session_id="s1")
        assert current() == Context(request_id="r1", actor=ADA, source="web")
    assert current() == Context()


def test_arguments_that_are_missing_are_filled_and_given_ones_win() -> None:
    """None and absent count as missing; an empty text was given."""
    arguments = {"workspace_id": None, "ip": "", "source": "api", "metadata": {"a": 1}}
    assert filled(arguments) is arguments
    with audit_context(workspace_id="w1", ip="203.0.113.7", source="web", actor=ADA):
        assert filled(arguments) == {
            "workspace_id": "w1",
            "ip": "",
            "source": "api",
            "metadata": {"a": 1},
            "actor": ADA,
        }
    assert arguments["workspace_id"] is None


def test_an_unknown_field_is_refused_with_the_nearest_name() -> None:
    """A slip of the hand is an error where it happens, not an event without its value."""
    with pytest.raises(TypeError, match="no field 'requestid'; did you mean request_id"):
        audit_context(requestid="r1")  # type: ignore[call-arg] # the point of the test
    with audit_context(), pytest.raises(TypeError, match="there are request_id, session_id"):
        update_context(zzz=1)  # type: ignore[call-arg] # the point of the test


def test_who_acts_may_be_said_later_and_ends_with_the_context() -> None:
    """After authentication the actor is known until the request's end, also in contexts opened inside."""
    with audit_context(request_id="r1"):
        with audit_context(source="web"):
            set_actor(ADA)
            update_context(workspace_id="w1")
            with audit_context(session_id="s1"):
                assert current() == Context("r1", "s1", actor=ADA, workspace_id="w1", source="web")
        assert current() == Context("r1")


def test_outside_every_context_nothing_can_be_left_behind() -> None:
    """A server's thread would give the values to its next request, so they are refused."""
    with pytest.raises(RuntimeError, match="no audit_context surrounds this"):
        set_actor(ADA)
    assert current() == Context()


def test_later_changes_of_a_mapping_are_the_callers_own() -> None:
    """The context keeps the actor as it was given."""
    actor = dict(ADA)
    with audit_context(actor=actor):
        actor["id"] = "u2"
        assert current().actor == ADA


def test_an_actor_may_be_a_function_asked_when_needed() -> None:
    """So that it sees what was found out after the context was opened; None means that nobody is known."""
    known: dict[str, Any] = {}
    with audit_context(actor=lambda: known.get("user")):
        assert filled({"actor": None}) == {"actor": None}
        known["user"] = ADA
        assert filled({"actor": None}) == {"actor": ADA}
        assert current().actor == ADA
        assert filled({"actor": BOB}) == {"actor": BOB}


def test_threads_begin_empty_and_a_copied_context_is_a_copy() -> None:
    """What is set in a thread or in a copy changes nothing elsewhere."""
    seen: list[Context] = []
    with audit_context(request_id="r1"):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()

        def in_copy() -> None:
            set_actor(ADA)
            seen.append(current())

        copied = threading.Thread(target=copy_context().run, args=(in_copy,))
        copied.start()
        copied.join()
        assert seen == [Context(), Context("r1", actor=ADA)]
        assert current() == Context("r1")


def test_tasks_inherit_and_keep_apart() -> None:
    """A hundred requests at once on one loop: each sees its own values, before and after it waited."""

    async def request(number: int, gate: asyncio.Barrier) -> None:
        with audit_context(request_id=f"r{number}"):
            await gate.wait()
            set_actor({"type": "client", "id": f"c{number}"})
            child = asyncio.create_task(background())
            await gate.wait()
            expected = Context(f"r{number}", actor={"type": "client", "id": f"c{number}"})
            assert current() == expected
            assert await child == expected

    async def background() -> Context:
        return current()

    async def main() -> None:
        gate = asyncio.Barrier(100)
        await asyncio.gather(*(request(number, gate) for number in range(100)))
        assert current() == Context()

    asyncio.run(main())


def test_requests_that_share_threads_never_see_each_other() -> None:
    """Four threads, two hundred requests, some of which fail: each begins empty."""

    def request(number: int) -> None:
        assert current() == Context()
        with audit_context(request_id=str(number)):
            set_actor(ADA)
            if number % 3 == 0:
                raise KeyError(number)
            assert current().request_id == str(number)

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(request, number) for number in range(200)]
    assert {type(result.exception()) for result in results} == {KeyError, type(None)}


def test_one_context_may_be_opened_often_and_by_many_at_once() -> None:
    """A module may keep "the nightly job" as a constant: nested, and on eight threads that wait for each other."""
    nightly = audit_context(actor=ADA, source="automation")
    gate = threading.Barrier(8)

    def work() -> Context:
        with nightly:
            gate.wait(10)
            set_actor(BOB)
            seen = current()
            gate.wait(10)
        assert current() == Context()
        return seen

    with ThreadPoolExecutor(8) as pool:
        assert [one.result() for one in [pool.submit(work) for _ in range(8)]] == [
            Context(actor=BOB, source="automation")
        ] * 8
    with nightly:
        with nightly:
            set_actor(BOB)
        assert current() == Context(actor=ADA, source="automation")
    assert current() == Context()


def test_a_generator_that_is_left_open_leaves_nothing_behind() -> None:
    """The context around it ends what it left open, and it may be closed afterwards, also elsewhere."""

    def parts() -> Generator[int, None, None]:
        with audit_context(actor=ADA):
            yield 1

    left_open = parts()
    with audit_context(request_id="r1"):
        next(left_open)
        assert current() == Context("r1", actor=ADA)
    assert current() == Context()
    with audit_context(request_id="r2"):
        left_open.close()
        assert current() == Context("r2")
    elsewhere = parts()
    copy_context().run(next, elsewhere)
    elsewhere.close()
    assert current() == Context()


def test_a_context_travels_to_another_process_as_plain_values() -> None:
    """Nothing in it is a function, unknown fields are left out, and opening it there gives the same context."""
    assert carried() == {}
    with audit_context(request_id="r1", actor=lambda: ADA, ip="203.0.113.7", on_behalf_of=BOB, session_id=None):
        message, here = json.dumps(carried()), current()
    assert json.loads(message).keys() == {"request_id", "actor", "ip", "on_behalf_of"}
    with audit_context(**json.loads(message)):
        assert current() == here
