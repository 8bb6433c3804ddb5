"""The embedded engine: one folder, one process, and a fresh connection for every query."""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from audit_local.clickhouse_server import driver
from audit_local.clickhouse_server.errors import ServerError
from audit_local.clickhouse_server.request import Session, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from audit_local.clickhouse_server.driver import Connection, Result

_UNSAFE: Final = re.compile(r"[^\w.:-]", re.ASCII)
_DEFAULT_DATABASE: Final = "default"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a finished query did; the fields of `X-ClickHouse-Summary`."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    elapsed_ns: int = 0

    @classmethod
    def of(cls, result: Result) -> Summary:
        """The figures of a finished query."""
        return cls(
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            result_rows=result.rows_read(),
            elapsed_ns=_nanoseconds(result.elapsed()),
        )


class Engine:
    """Runs queries; every method may block and may be called from any thread, several at a time.

    A connection costs 0.1 ms, so each query gets one of its own: settings, the database and bound parameters end with
    it and cannot reach another query. The engine names queries itself; the client's query id is a comment in the text,
    where `system.processes` shows it and `kill` finds it.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the folder, made when missing; raises `ServerError` when the engine refuses it."""
        self._path = str(folder)
        self._open = ExitStack()
        # Held until `close`: the engine lives as long as one connection does.
        holder = self._open.enter_context(driver.connection(self._path))
        answer = holder.query(b"SELECT version(), timezone()", "TSV").bytes().decode()
        self.version, self.timezone = answer.strip().split("\t")

    def close(self) -> None:
        """Writes everything out and ends the engine."""
        self._open.close()

    def read(self, body: bytes, form: str, tail: bytes, session: Session, query_id: str, sink: int) -> Summary:
        """Writes a SELECT's answer into the file descriptor `sink`, which is closed at the end, also after an error.

        INTO OUTFILE is the one way on which the engine itself writes any format in pieces, in constant memory, with
        formatting spread over threads: chdb's own stream repeats a format's header in every block.
        """
        try:
            with self._session(session) as connection:
                into = f"\nINTO OUTFILE '/dev/fd/{sink}' APPEND FORMAT {form}".encode()
                return Summary.of(connection.query(body + into + tail + b"\n" + _name(query_id), form))
        finally:
            os.close(sink)

    def columns(self, body: bytes, session: Session) -> list[tuple[str, str]]:
        """Names and types of a SELECT's answer."""
        with self._session(session) as connection:
            described = connection.query(b"DESCRIBE TABLE (\n" + body + b"\n)", "JSONCompactEachRow").bytes()
        return [(row[0], row[1]) for row in map(json.loads, described.splitlines())]

    def insert(self, head: bytes, form: str, data: Iterable[bytes], session: Session, query_id: str) -> Summary:
        """Feeds `data` to an INSERT; nothing is acknowledged before all of it is in the tables."""
        with self._session(session) as connection, connection.send_insert(head + b"\n" + _name(query_id), form) as feed:
            for piece in data:
                feed.append(piece)
            written = feed.finish()
        return Summary(
            written_rows=written.rows_written,
            written_bytes=written.bytes_written,
            elapsed_ns=_nanoseconds(written.elapsed),
        )

    def run(self, text: bytes, form: str, session: Session, query_id: str) -> tuple[bytes, Summary]:
        """Runs any other statement and gives its whole answer."""
        with self._session(session) as connection:
            # The name stands in front: an INSERT … VALUES takes all that follows for data.
            result = connection.query(_name(query_id) + b" " + text, form)
            return result.bytes(), Summary.of(result)

    def kill(self, query_id: str) -> None:
        """Cancels the query with this id, if it runs."""
        # The engine puts the searched text together, so that this statement does not find itself.
        name = _name(query_id).decode()
        statement = f"KILL QUERY WHERE position(query, concat({quoted(name[:3])}, {quoted(name[3:])})) > 0 ASYNC"
        with suppress(ServerError), self._session(Session()) as connection:
            connection.query(statement.encode(), "Null")

    @contextmanager
    def _session(self, session: Session) -> Iterator[Connection]:
        with driver.connection(self._path) as connection:
            if session.database not in {"", _DEFAULT_DATABASE}:
                connection.query(f"USE `{session.database.replace('`', '``')}`".encode(), "Null")
            if statement := session.set_statement():
                connection.query(statement.encode(errors="surrogateescape"), "Null")
            yield connection


def _name(query_id: str) -> bytes:
    return f"/* query_id: {_UNSAFE.sub('_', query_id)} */".encode()


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
