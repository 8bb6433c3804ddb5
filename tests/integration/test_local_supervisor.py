"""The supervisor over real child processes: small Python programs that play the parts of the stack."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit_local import tether
from audit_local.backoff import Backoff
from audit_local.errors import LocalStackError
from audit_local.supervisor import Supervisor
from audit_local.units import State, Unit
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

QUICK = Backoff(first=0.05, ceiling=0.2)
SLEEP = "import time\nprint('up', flush=True)\ntime.sleep(600)"
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)"


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", textwrap.dedent(program))


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Run:
    """A supervisor at work in a test: its lines, and a way to wait for what it does."""

    def __init__(self, *units: Unit, attempts: int = 5) -> None:
        self.lines: list[str] = []
        self.supervisor = Supervisor(
            units, lambda name, line: self.lines.append(f"{name}: {line}"), backoff=QUICK, attempts=attempts
        )
        self.task = asyncio.create_task(self.supervisor.run())

    async def until(self, check: Callable[[], bool], message: str, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < deadline, f"{message}; lines: {self.lines}"
            assert not self.task.done(), f"the supervisor ended; lines: {self.lines}"
            await asyncio.sleep(0.01)

    async def until_ready(self) -> None:
        await self.until(lambda: self.supervisor.ready, "everything is ready")

    def pid(self, name: str) -> int:
        (found,) = [process.pid for process in self.supervisor.processes if process.name == name]
        assert found is not None
        return found

    async def stop(self) -> None:
        self.supervisor.stop()
        await self.task


def exists(path: Path) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return path.exists()

    return check


def test_units_start_when_what_they_need_is_ready(tmp_path: Path) -> None:
    """A unit starts after those it names are ready, not merely running; steps must have ended."""
    flag, log = tmp_path / "flag", tmp_path / "log"

    def note(text: str, then: str) -> tuple[str, ...]:
        return python(f"import time, pathlib\nopen({str(log)!r}, 'a').write({text!r})\n{then}")

    async def main() -> None:
        run = Run(
            Unit("third", note("3", "time.sleep(600)"), after=("second",)),
            Unit("second", note("2", ""), after=("first",), step=True),
            Unit(
                "first", note("1", f"time.sleep(0.3)\npathlib.Path({str(flag)!r}).touch()\ntime.sleep(600)"),
                ready=exists(flag),
            ),
        )  # fmt: skip
        await run.until(log.exists, "the first unit runs")
        assert [process.state for process in run.supervisor.processes] == [State.STARTING, State.STARTING]
        await run.until(lambda: log.read_text() == "123", "the order is kept")
        await run.until_ready()
        assert [process.name for process in run.supervisor.processes] == ["first", "third"]
        await run.stop()

    asyncio.run(main())


def test_a_process_that_ends_is_started_again_after_a_growing_wait() -> None:
    """A killed service comes back with a new id, is `restarting` in between, and each wait is said."""

    async def main() -> None:
        run = Run(Unit("service", python(SLEEP)))
        for wait in ("0.05", "0.1", "0.2", "0.2"):
            await run.until_ready()
            pid = run.pid("service")
            os.kill(pid, signal.SIGKILL)
            line = f"service: ended with status -9, starts again in {wait} s"
            await run.until(lambda line=line: line in run.lines, line)  # type: ignore[misc]
            run.lines.clear()
            await run.until(lambda pid=pid: run.supervisor.ready and run.pid("service") != pid, "it is back")  # type: ignore[misc]
        await run.stop()

    asyncio.run(main())


def test_stopping_goes_in_reverse_order_and_leaves_nothing(tmp_path: Path) -> None:
    """What was started last is stopped first, each by SIGTERM; children of children are gone, too."""
    log = tmp_path / "log"
    polite = """
        import signal, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
        def end(*_):
            open({log!r}, "a").write({name!r})
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        print(child.pid, flush=True)
        time.sleep(600)
    """

    async def main() -> None:
        run = Run(
            Unit("a", python(textwrap.dedent(polite).format(log=str(log), name="a"))),
            Unit("b", python(textwrap.dedent(polite).format(log=str(log), name="b")), after=("a",)),
        )
        await run.until(lambda: len(run.lines) == 2, "both told their child's id")
        pids = [run.pid("a"), run.pid("b"), *(int(line.split()[1]) for line in run.lines)]
        await run.stop()
        assert log.read_text() == "ba"
        eventually(lambda: not any(alive(pid) for pid in pids), 2, "nothing is left")
        assert {process.state for process in run.supervisor.processes} == {State.STOPPED}

    asyncio.run(main())


def test_a_process_that_ignores_the_request_is_killed_in_time() -> None:
    """SIGTERM unanswered for `stop_seconds` is followed by SIGKILL."""

    async def main() -> None:
        run = Run(Unit("deaf", python(DEAF), stop_seconds=0.3))
        await run.until(lambda: "deaf: up" in run.lines, "it runs")
        pid = run.pid("deaf")
        started = time.monotonic()
        await run.stop()
        assert time.monotonic() - started < 5
        assert not alive(pid)

    asyncio.run(main())


def test_a_second_request_to_stop_does_not_wait() -> None:
    """Ctrl-C twice kills at once what is still there."""

    async def main() -> None:
        run = Run(Unit("deaf", python(DEAF), stop_seconds=60))
        await run.until(lambda: "deaf: up" in run.lines, "it runs")
        started = time.monotonic()
        run.supervisor.stop()
        run.supervisor.stop()
        await run.task
        assert time.monotonic() - started < 5

    asyncio.run(main())


def test_a_unit_that_never_comes_up_ends_the_stack_with_its_last_lines() -> None:
    """After some attempts the others are stopped and the error says what the unit said last."""

    async def main() -> None:
        run = Run(
            Unit("service", python(SLEEP)),
            Unit("broken", python("print('the reason')\nraise SystemExit(3)"), after=("service",), step=True),
            attempts=2,
        )
        with pytest.raises(LocalStackError, match=r"^broken could not .* \(status 3, attempt 2\):\n  the reason"):
            await run.task
        assert {process.state for process in run.supervisor.processes} == {State.STOPPED}

    asyncio.run(main())


def test_bad_settings_are_not_tried_twice() -> None:
    """Status 78 (EX_CONFIG) can't get better by waiting."""

    async def main() -> None:
        run = Run(Unit("misconfigured", python("raise SystemExit(78)"), ready=never))
        with pytest.raises(LocalStackError, match="status 78, attempt 1"):
            await run.task

    asyncio.run(main())


def test_a_service_that_does_not_get_ready_is_started_again() -> None:
    """A process that runs but never answers is stopped after `ready_seconds`."""

    async def main() -> None:
        run = Run(Unit("stuck", python(SLEEP), ready=never, ready_seconds=0.3), attempts=2)
        with pytest.raises(LocalStackError, match="attempt 2"):
            await run.task
        assert "stuck: was not ready after 0.3 s, is stopped" in run.lines

    asyncio.run(main())


async def never() -> bool:
    return False


def test_a_command_that_does_not_exist_is_named() -> None:
    """The message says which program is missing."""

    async def main() -> None:
        run = Run(Unit("missing", ("/no/such/program",), step=True), attempts=1)
        with pytest.raises(LocalStackError, match="/no/such/program cannot be run: No such file or directory"):
            await run.task

    asyncio.run(main())


def test_long_and_broken_lines_are_passed_on() -> None:
    """Output without line ends, or that is not UTF-8, neither blocks the process nor is lost."""
    program = """
        import sys, time
        sys.stdout.buffer.write(b"x" * 300_000 + b"\\n" + b"caf\\xe9\\nend")
        sys.stdout.flush()
    """

    async def main() -> None:
        run = Run(Unit("noisy", python(program), step=True))
        await run.until_ready()
        await run.stop()
        assert sum(line.count("x") for line in run.lines) == 300_000
        assert run.lines[-2:] == ["noisy: caf\N{REPLACEMENT CHARACTER}", "noisy: end"]

    asyncio.run(main())


@pytest.mark.parametrize("how", ["kernel", "watcher"])
def test_a_tethered_process_dies_with_its_parent(how: str, tmp_path: Path) -> None:
    """After SIGKILL of the parent the child is gone, by the kernel's help or by the watcher's."""
    if how == "kernel" and sys.platform != "linux":
        pytest.skip("PR_SET_PDEATHSIG is Linux's")
    pid_file = tmp_path / "pid"
    child = f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    parent = f"""
        import os, subprocess, sys
        tied = [sys.executable, "-I", "-S", {tether.__file__!r}, {how!r}, str(os.getpid())]
        subprocess.Popen([*tied, sys.executable, "-I", "-S", "-c", {child!r}], start_new_session=True).wait()
    """
    with subprocess.Popen(python(parent)) as process:
        pid = int(eventually(lambda: pid_file.exists() and pid_file.read_text(), 10, "the child runs"))
        process.kill()
    eventually(lambda: not alive(pid), 5, "the child is gone")


def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    """SIGKILL of the supervisor, which can clean nothing up, ends its processes too."""
    program = f"""
        import asyncio, sys
        from pathlib import Path
        from audit_local.supervisor import Supervisor
        from audit_local.units import Unit

        deaf = {DEAF!r}
        units = [Unit(name, (sys.executable, "-c", deaf)) for name in ("kafka", "worker")]

        def changed():
            pids = [str(process.pid) for process in supervisor.processes if process.pid]
            if supervisor.ready and len(pids) == 2:
                Path({str(tmp_path / "new")!r}).write_text(" ".join(pids))
                Path({str(tmp_path / "new")!r}).rename({str(tmp_path / "pids")!r})

        supervisor = Supervisor(units, lambda name, line: None, changed)
        asyncio.run(supervisor.run())
    """
    pid_file = tmp_path / "pids"
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)]) as process:
        eventually(pid_file.exists, 10, "both processes run")
        pids = [int(pid) for pid in pid_file.read_text().split()]
        process.kill()
    eventually(lambda: not any(alive(pid) for pid in pids), 5, "both processes are gone")
