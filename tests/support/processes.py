"""A server under test as a local process: started tied to the test run, killed, paused, started again."""

from __future__ import annotations

import signal
import subprocess
import threading
from typing import TYPE_CHECKING

from audit_local.launch import tethered
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


class ServerProcess:
    """One process that is ready when `ready` says so; its output goes to `log_path`, its data stays where it is."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        ready: Callable[[], bool],
        log_path: Path,
        ready_seconds: float,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._command = tuple(command)
        self._ready = ready
        self._ready_seconds = ready_seconds
        self._env = None if env is None else dict(env)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; only while it was started and not stopped."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it and returns once it answers; fails with the end of its log when it ends before."""
        assert not self.running, f"{self.name} runs already"
        # The kernel kills a tethered child when the thread that started it ends.
        assert threading.current_thread() is threading.main_thread(), "start servers from the main thread"
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                tethered(self._command),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._env,
            )
        self._process = process

        def is_ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(
                    f"{self.name} ended with status {process.returncode} before it answered:\n{self.end_of_log()}"
                )
            return self._ready()

        eventually(is_ready, self._ready_seconds, f"{self.name} answers (log: {self.log_path})")

    def end_of_log(self) -> str:
        """The last it said; empty when it never ran."""
        return self.log_path.read_text(errors="replace")[-4000:] if self.log_path.exists() else ""

    def wait(self, seconds: float) -> int:
        """The exit status; raises `subprocess.TimeoutExpired` when it still runs after so long."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL: no clean-up of any kind. Returns when the process is gone."""
        self._end(signal.SIGKILL, 10)

    def stop(self) -> None:
        """SIGTERM and, when that does nothing for 20 s, SIGKILL. Does nothing when it does not run."""
        if self.running:
            self.resume()
            try:
                self._end(signal.SIGTERM, 20)
            except subprocess.TimeoutExpired:
                self.kill()

    def terminate(self) -> None:
        """SIGTERM, without waiting for what it does."""
        self._signal(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: the process neither answers nor closes its connections until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, f"{self.name} is not running"
        self._process.send_signal(number)

    def _end(self, number: signal.Signals, seconds: float) -> None:
        self._signal(number)
        assert self._process is not None
        self._process.wait(seconds)
        self._process = None
