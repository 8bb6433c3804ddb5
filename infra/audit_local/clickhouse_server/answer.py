"""How an answer goes out: the head with ClickHouse's headers, the body whole or in pieces, the break after an error."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from audit_local.clickhouse_server import compression
from audit_local.clickhouse_server.engine import Summary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from audit_local.clickhouse_server.errors import ServerError

    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TYPES: Final = {
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "CSVWithNamesAndTypes": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "JSONCompactEachRow": "application/x-ndjson; charset=UTF-8",
    "JSONStringsEachRow": "application/x-ndjson; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "TSVWithNames": "text/tab-separated-values; charset=UTF-8",
}
_BINARY: Final = ("Native", "RowBinary", "Parquet", "Arrow", "ORC", "Avro", "Protobuf", "MsgPack", "BSON", "Npy")


@dataclass(frozen=True, slots=True)
class Head:
    """What every answer to a query says about itself."""

    query_id: str
    format: str
    timezone: str
    encoding: str = ""

    def headers(self, summary: Summary) -> list[tuple[bytes, bytes]]:
        """The headers of an answer that is no error."""
        pairs = {
            "Content-Type": content_type(self.format),
            "X-ClickHouse-Server-Display-Name": socket.gethostname(),
            "X-ClickHouse-Query-Id": self.query_id,
            "X-ClickHouse-Format": self.format,
            "X-ClickHouse-Timezone": self.timezone,
            "X-ClickHouse-Summary": json.dumps({name: str(value) for name, value in asdict(summary).items()}),
        }
        if self.encoding:
            pairs |= {"Content-Encoding": self.encoding, "Vary": "Accept-Encoding"}
        return [(name.encode(), value.encode("latin-1", errors="replace")) for name, value in pairs.items()]


class Answer:
    """One answer on one connection. Leaving it unfinished makes the server cut the connection: no clean end."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._encoder: compression.Encoder | None = None
        self._tag = secrets.token_hex(8)
        self.started = False

    async def whole(self, head: Head, summary: Summary, body: Iterable[bytes], size: int) -> None:
        """An answer that is complete: with its summary and, unless compressed, its length."""
        if head.encoding:
            self._encoder = compression.encoder(head.encoding)
            await self._start(HTTPStatus.OK, head.headers(summary))
        else:
            await self._start(HTTPStatus.OK, [*head.headers(summary), (b"Content-Length", b"%d" % size)])
        for piece in body:
            await self.piece(piece)
        await self.end()

    async def begin(self, head: Head) -> None:
        """The head of an answer whose end is not known yet."""
        if head.encoding:
            self._encoder = compression.encoder(head.encoding)
        await self._start(
            HTTPStatus.OK, [*head.headers(Summary()), (b"X-ClickHouse-Exception-Tag", self._tag.encode())]
        )

    async def piece(self, data: bytes) -> None:
        """The next part of the body; waits while the client is slow."""
        if self._encoder is not None:
            # On a thread: a slow method must not hold up other answers.
            data = await asyncio.to_thread(self._encoder.encode, data)
        if data:
            await self._body(data, more=True)

    async def end(self) -> None:
        """The clean end."""
        await self._body(self._encoder.finish() if self._encoder is not None else b"", more=False)

    async def broken(self, error: ServerError, version: str) -> None:
        """The error after the data; the last chunk is never sent, so that every client sees the break."""
        await self.piece(error.block(self._tag, version))
        if self._encoder is not None:
            await self._body(self._encoder.finish(), more=True)

    async def failed(self, error: ServerError, version: str, query_id: str) -> None:
        """An error before any data."""
        body = error.body(version)
        headers = [
            (b"Content-Type", b"text/plain; charset=UTF-8"),
            (b"Content-Length", b"%d" % len(body)),
            (b"X-ClickHouse-Exception-Code", b"%d" % error.code),
            (b"X-ClickHouse-Query-Id", query_id.encode("latin-1", errors="replace")),
        ]
        await self.plain(error.status, body, headers)

    async def plain(self, status: HTTPStatus, body: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        """A short text."""
        default = [(b"Content-Type", b"text/html; charset=UTF-8"), (b"Content-Length", b"%d" % len(body))]
        await self._start(status, headers or default)
        await self._body(body, more=False)

    async def _start(self, status: HTTPStatus, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        await self._send({"type": "http.response.start", "status": status.value, "headers": headers})

    async def _body(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


def content_type(form: str) -> str:
    """The media type of a format, as the server names it."""
    if form in _TYPES:
        return _TYPES[form]
    return "application/octet-stream" if form.startswith(_BINARY) else "text/plain; charset=UTF-8"


def native_header(columns: Iterable[tuple[str, str]]) -> bytes:
    """A block of no rows in the Native format: what the server answers when nothing was found."""
    listed = list(columns)
    texts = [text.encode() for column in listed for text in column]
    return _varint(len(listed)) + _varint(0) + b"".join(_varint(len(text)) + text for text in texts)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
