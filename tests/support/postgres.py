"""A real PostgreSQL for the tests: a cluster of its own in a temporary folder, on a socket there."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path

import psycopg

from tests.support.processes import ServerProcess

ABSENT = "PostgreSQL is not installed; .ci/run installs it"
_READY_SECONDS = 30


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`, which distributions keep off the path; None when there is none."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


class PostgresProcess(ServerProcess):
    """One cluster; `remove` ends it. PostgreSQL refuses to be root, so there it is another user, in a folder it may
    enter."""

    def __init__(self) -> None:
        found = programs()
        assert found is not None, ABSENT
        self.folder = Path(tempfile.mkdtemp(prefix="audit-pg-"))
        as_other: list[str] = []
        if os.geteuid() == 0:
            user = _somebody()
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            as_other = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        data = str(self.folder / "data")
        made = subprocess.run(
            [*as_other, str(found / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"]
            + ["--no-sync"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        # The kernel forgets to kill a child that became another user with its parent, unless it is told after that.
        tied = ["--pdeathsig=QUIT"] if as_other else []
        server = [*as_other, *tied, str(found / "postgres"), "-D", data, "-k", str(self.folder), "-F"]
        super().__init__(
            "postgresql", [*server, "-c", "listen_addresses="], self._answers, self.folder / "log", _READY_SECONDS
        )

    def database(self) -> str:
        """The SQLAlchemy URL of a new empty database."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with self._connected() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"

    def kill(self) -> None:
        """All its processes end at once, without putting anything in order: SIGKILL would end only the first."""
        self._end(signal.SIGQUIT, 20)

    def stop(self) -> None:
        """An orderly end that does not wait for clients. Does nothing when it does not run."""
        if self.running:
            self._end(signal.SIGINT, 20)

    def remove(self) -> None:
        """Stops it and deletes its folder."""
        self.stop()
        shutil.rmtree(self.folder)

    def _answers(self) -> bool:
        try:
            self._connected().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connected(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres", autocommit=True)


def _somebody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
