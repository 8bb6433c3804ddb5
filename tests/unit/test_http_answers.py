"""What HTTP answers share: media types and codings by weight, and packing that neither waits nor hides a break."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from audit_infra.http.accept import media_type
from audit_infra.http.compression import Compression, coding
from audit_infra.http.problems import ProblemError

OFFERED = ("application/json", "application/x-ndjson")
UNPACK: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zstd": zstd.ZstdDecompressor,
}


def answered(
    pieces: Sequence[bytes],
    *,
    accept: str = "zstd",
    media: str = "application/json",
    method: str = "GET",
    status: int = 200,
    headers: Sequence[tuple[bytes, bytes]] = (),
    ends: bool = True,
) -> tuple[dict[str, str], list[Message]]:
    """The headers and the body's messages of an answer in these pieces, through the middleware."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-type", media.encode()), *headers]}
        )
        for number, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": not ends or number < len(pieces)})

    sent: list[Message] = []

    async def run() -> None:
        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "headers": [(b"accept-encoding", accept.encode())]}
        await Compression(app)(scope, receive, send)

    asyncio.run(run())
    start, *body = sent
    return {name.decode(): value.decode() for name, value in start["headers"]}, body


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/*;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ("Application/JSON ; Q=0.1", "application/json"),
        ("application/x-ndjson;q=0.1, application/json;q=0.2", "application/json"),
        ("application/json;q=0, */*", "application/x-ndjson"),
        ("text/html", None),
        ("*/*;q=0", None),
        ("application/json;q=0.000", None),
    ],
)
def test_the_media_type_is_the_one_the_caller_likes_best(header: str, expected: str | None) -> None:
    """The most specific range decides, weights are kept, and none at all is a 406 that says what there is."""
    if expected is not None:
        assert media_type(header, OFFERED) == expected
        return
    with pytest.raises(ProblemError) as raised:
        media_type(header, OFFERED)
    assert raised.value.status == 406
    assert raised.value.extra == {"available": list(OFFERED)}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ""),
        ("br", ""),
        ("gzip", "gzip"),
        ("gzip, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.9", "gzip"),
        ("gzip;q=0, zstd;q=0", ""),
        ("*", "zstd"),
        ("zstd;q=0, *;q=0.1", "gzip"),
        ("identity, gzip;q=0.5", ""),
        ("identity;q=0.5, gzip", "gzip"),
    ],
)
def test_the_coding_is_the_one_the_caller_likes_best(header: str, expected: str) -> None:
    """Weights are kept; of equal ones zstd, which is faster."""
    assert coding(header) == expected


@given(st.text(max_size=60))
def test_any_header_has_an_answer(header: str) -> None:
    """What can't be read is no error."""
    assert coding(header) in ("", "gzip", "zstd")
    with contextlib.suppress(ProblemError):
        assert media_type(header, OFFERED) in OFFERED


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_every_piece_of_a_stream_can_be_unpacked_when_it_comes(name: str) -> None:
    """Nothing is held back until more comes, small pieces neither."""
    pieces = [b"a,b\r\n", b"c,d\r\n" * 40_000, b"e", b""]
    headers, body = answered(pieces, accept=name, media="text/csv; charset=utf-8")
    assert (headers["content-encoding"], headers["vary"]) == (name, "Accept-Encoding")
    assert "content-length" not in headers
    unpack = UNPACK[name]()
    assert [unpack.decompress(message["body"]) for message in body] == pieces
    assert unpack.eof


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_stream_that_breaks_off_has_no_packed_end(name: str) -> None:
    """What came before can be read, and neither the coding nor HTTP says that it was all."""
    _, body = answered([b"a,b\r\n" * 500, b"c,d\r\n"], accept=name, media="text/csv", ends=False)
    unpack = UNPACK[name]()
    assert b"".join(unpack.decompress(message["body"]) for message in body) == b"a,b\r\n" * 500 + b"c,d\r\n"
    assert not unpack.eof
    assert all(message["more_body"] for message in body)


def test_a_whole_answer_says_how_long_it_is() -> None:
    """Its packed length, and a strong tag of other bytes becomes a weak one."""
    headers, (message,) = answered([b"x" * 5000], headers=[(b"content-length", b"5000"), (b"etag", b'"abc"')])
    assert headers["content-length"] == str(len(message["body"]))
    assert int(headers["content-length"]) < 100
    assert headers["etag"] == 'W/"abc"'
    assert zstd.decompress(message["body"]) == b"x" * 5000
    assert answered([b"x" * 5000], headers=[(b"etag", b'"abc-zstd"')])[0]["etag"] == '"abc-zstd"'


@pytest.mark.parametrize(
    "options",
    [
        {"accept": "identity"},
        {"media": "text/event-stream"},
        {"media": "image/png"},
        {"method": "HEAD"},
        {"status": 304},
        {"status": 206},
        {"headers": [(b"content-encoding", b"br")]},
    ],
)
def test_what_must_not_be_packed_is_left_alone(options: dict[str, Any]) -> None:
    """Event streams, other media, parts, what is packed already, and answers without a body."""
    headers, body = answered([b"x" * 5000, b"y"], **options)
    assert [message["body"] for message in body] == [b"x" * 5000, b"y"]
    assert headers.get("content-encoding", "br") == "br"


def test_small_answers_are_not_packed_but_vary() -> None:
    """Below a kibibyte packing saves nothing; caches must know that the same address may be packed."""
    headers, body = answered([b"x" * 100])
    assert "content-encoding" not in headers
    assert headers["vary"] == "Accept-Encoding"
    assert body[0]["body"] == b"x" * 100
