"""Reading through ClickHouse's HTTP protocol, with the production client, with curl and with bare HTTP."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import clickhouse_connect
import httpx
import psutil
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from tests.support.encodings import unpack
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clickhouse_connect.driver.client import Client

    from tests.support.servers import ClickHouseServer

NASTY = [
    "it's",
    'a "quoted" `name`',
    "back\\slash \\n \\' \\\\",
    "line\nbreak\r\nand\ttab\b\f\0",
    "{not:String} %(x)s %s $1 ? ; -- /* #",
    "Ünïcode 日本語 🎉 \u200d",
    " leading and trailing ",
    "",
]
ENDLESS = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"
BREAKS = "SELECT throwIf(number = 400000, 'broke on purpose'), repeat('x', 50) FROM numbers(100000000)"


@pytest.fixture
def client(clickhouse: ClickHouseServer, database: str) -> Iterator[Client]:
    """The production client, in a database of its own."""
    opened = clickhouse_connect.get_client(dsn=clickhouse.url, database=database)
    yield opened
    opened.close()


@pytest.fixture
def http(clickhouse: ClickHouseServer) -> Iterator[httpx.Client]:
    """Bare HTTP."""
    with httpx.Client(base_url=clickhouse.url, timeout=30) as opened:
        yield opened


def test_every_type_comes_back(client: Client) -> None:
    """Values of the types that the tables use are inserted and read back equal."""
    client.command(
        "CREATE TABLE t (a UInt64, b String, c LowCardinality(String), d DateTime64(6, 'UTC'), e UUID, f IPv6,"
        " g Array(LowCardinality(String)), h Nullable(Float64), i Int32, j Date, k Map(String, UInt8), l Bool)"
        " ENGINE MergeTree ORDER BY a"
    )
    rows: list[list[Any]] = [
        [2**64 - 1, "\0'\\\n", "low", datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), UUID(int=7), "2001:db8::1"]
        + [["a", "b'"], None, -(2**31), datetime(2020, 2, 29, tzinfo=UTC).date(), {"k": 1}, True],
        [0, "é" * 1000, "", datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0), "::"]
        + [[], 1.5, 0, datetime(1970, 1, 1, tzinfo=UTC).date(), {}, False],
    ]
    summary = client.insert("t", rows, column_names=list("abcdefghijkl"))
    assert summary.written_rows == 2
    found = client.query("SELECT * FROM t ORDER BY a DESC", query_tz="UTC").result_rows
    assert [[*map(str, row)] for row in found] == [
        [*map(str, [*row[:3], row[3].replace(tzinfo=None), *row[4:]])] for row in rows
    ]


@pytest.mark.parametrize("text", NASTY)
def test_bound_values_arrive_as_sent(client: Client, text: str) -> None:
    """Bound strings and arrays of strings, whatever is in them, in the URL or (when long) in a form, arrive unchanged."""
    assert client.query("SELECT {a:String}", {"a": text}).result_rows == [(text,)]
    assert client.query("SELECT {a:Array(String)}", {"a": [text, "x", text]}).result_rows == [([text, "x", text],)]
    long = text * 2000
    assert client.query("SELECT {a:String} = {b:String}, {a:String}", {"a": long, "b": long}).result_rows == [(1, long)]
    assert client.command("SELECT length({a:String})", {"a": text}) == len(text.encode())


def test_escapes_in_a_bound_value_are_read_as_the_server_reads_them(http: httpx.Client) -> None:
    """A value is TSV-escaped text; a raw tab or line break in it is an error, not a shorter value."""
    query = {"query": "SELECT {a:String}"}
    assert http.get("/", params=query | {"param_a": "a\\tb\\\\n\\'"}).text == "a\\tb\\\\n\\'\n"
    refused = http.get("/", params=query | {"param_a": "a\nb"})
    assert refused.headers["X-ClickHouse-Exception-Code"] == "457"


def test_settings_hold_for_one_query(client: Client, http: httpx.Client) -> None:
    """Settings of one query never reach another, also when many run at once."""
    query = "SELECT getSetting('max_block_size'), getSetting('log_comment'), sleep(0.05)"
    usual = http.post("/", content=query).text
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        params: dict[str, str | int] = {"max_block_size": number, "log_comment": f"'c{number}\\"} if number % 2 else {}
        found[number] = http.post("/", params=params, content=query).text

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 41)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: f"{number}\t\\'c{number}\\\\\t0\n" if number % 2 else usual for number in range(1, 41)}


@pytest.mark.parametrize(
    ("query", "params", "status", "code", "name"),
    [
        ("SELECT * FROM nope", {}, 404, 60, "UNKNOWN_TABLE"),
        ("SELECT nope", {}, 404, 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT 1", {"database": "nope"}, 404, 81, "UNKNOWN_DATABASE"),
        ("SELECT 1", {"nope": "1"}, 404, 115, "UNKNOWN_SETTING"),
        ("SELECT 1 SETTINGS nope = 1", {}, 404, 115, "UNKNOWN_SETTING"),
        ("SELECT 1 FORMAT Nope", {}, 404, 73, "UNKNOWN_FORMAT"),
        ("SELEC 1", {}, 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", {}, 400, 62, "SYNTAX_ERROR"),
        ("SELECT toUInt8('x')", {}, 400, 6, "CANNOT_PARSE_TEXT"),
        ("SELECT toUUID('x')", {}, 400, 376, "CANNOT_PARSE_UUID"),
        ("SELECT throwIf(1)", {}, 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT sleep(3)", {"max_execution_time": "0.1"}, 408, 159, "TIMEOUT_EXCEEDED"),
        ("DROP TABLE nope", {}, 404, 60, "UNKNOWN_TABLE"),
    ],
)
def test_errors_have_code_status_and_name(
    http: httpx.Client, query: str, params: dict[str, str], status: int, code: int, name: str
) -> None:
    """A failed query has ClickHouse's code in the header, its name in the text and the status the server gives it."""
    answer = http.post("/", params=params | {"query_id": f"e{time.monotonic_ns()}"}, content=query)
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name}) (version " in answer.text
    assert answer.text.count("DB::Exception") == 1


def test_client_error_carries_the_code(client: Client) -> None:
    """The production client raises with the code, so that errors can be classified without their text."""
    with pytest.raises(DatabaseError) as raised:
        client.query("SELECT * FROM nope")
    assert (raised.value.code, raised.value.name) == (60, "UNKNOWN_TABLE")


def test_get_changes_nothing(http: httpx.Client, database: str) -> None:
    """A statement that writes is refused on GET, as on a server, and done on POST."""
    create = {"query": "CREATE TABLE t (a UInt8) ENGINE Memory", "database": database}
    assert http.get("/", params=create).headers["X-ClickHouse-Exception-Code"] == "164"
    assert http.post("/", params=create).status_code == 200


def test_plain_routes(http: httpx.Client) -> None:
    """Liveness routes answer as the server's; unknown paths are 404."""
    assert [http.get(path).text for path in ("/", "/ping", "/replicas_status")] == ["Ok.\n"] * 3
    assert http.get("/nope").status_code == 404


def test_answer_describes_itself(http: httpx.Client) -> None:
    """Headers name the query, the format, the timezone and what was read; a finished answer has its length."""
    query = "SELECT number FROM numbers(5)"
    answer = http.post(
        "/",
        params={"query_id": "my id-1", "default_format": "CSVWithNames", "session_timezone": "Asia/Tokyo"},
        content=query,
    )
    assert answer.text == '"number"\n0\n1\n2\n3\n4\n'
    assert answer.headers["X-ClickHouse-Query-Id"] == "my id-1"
    assert answer.headers["X-ClickHouse-Format"] == "CSVWithNames"
    assert answer.headers["X-ClickHouse-Timezone"] == "Asia/Tokyo"
    assert answer.headers["Content-Type"].startswith("text/csv; charset=UTF-8; header=present")
    assert '"read_rows": "5"' in answer.headers["X-ClickHouse-Summary"]
    assert http.post("/", content=query + " FORMAT JSONEachRow").headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert http.post("/", content="SHOW DATABASES LIKE 'system' FORMAT JSONEachRow").text == '{"name":"system"}\n'


def test_query_may_be_in_url_and_body(http: httpx.Client) -> None:
    """The text in the URL and the body are one query."""
    assert http.post("/", params={"query": "SELECT 1 +"}, content="2 FORMAT CSV").text == "3\n"
    assert http.get("/", params={"query": "SELECT 1 -- a comment"}).text == "1\n"


def test_no_rows_still_have_columns(client: Client) -> None:
    """An empty result names its columns."""
    empty = client.query("SELECT number AS n, toString(number) AS s FROM numbers(3) WHERE n > {n:UInt8}", {"n": 9})
    assert (empty.result_rows, empty.column_names) == ([], ("n", "s"))


@pytest.mark.parametrize("form", ["CSVWithNames", "JSON", "JSONCompactEachRowWithNames", "Parquet", "ArrowStream"])
def test_long_answers_are_one_document(client: Client, form: str) -> None:
    """A format with a beginning and an end has each of them once, however many blocks the answer has."""
    query = "SELECT number AS n, toString(n) AS s FROM numbers(300000) ORDER BY n"
    raw = client.raw_query(query, fmt=form)
    client.command("CREATE TABLE back (n UInt64, s String) ENGINE MergeTree ORDER BY n")
    client.raw_insert("back", insert_block=raw, fmt=form)
    assert client.query("SELECT count(), uniqExact(n), sum(n), countIf(toString(n) = s) FROM back").result_rows == [
        (300000, 300000, 44999850000, 300000)
    ]


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate"])
def test_answers_are_compressed_on_request(http: httpx.Client, encoding: str) -> None:
    """Short and streamed answers come compressed when both the setting and the header ask for it."""
    for count in (10, 400_000):
        query = f"SELECT number FROM numbers({count}) FORMAT CSV"
        headers = {"Accept-Encoding": encoding}
        with http.stream("POST", "/", content=query, headers=headers, params={"enable_http_compression": 1}) as answer:
            packed = b"".join(answer.iter_raw())
        assert answer.headers["Content-Encoding"] == encoding
        assert unpack(packed, encoding) == "".join(f"{number}\n" for number in range(count)).encode()
        plain = http.post("/", content=query, headers=headers)
        assert "Content-Encoding" not in plain.headers


def test_client_reads_compressed(clickhouse: ClickHouseServer) -> None:
    """The production client reads what it asked to be compressed, each way it knows."""
    for compress in ("lz4", "zstd", "gzip", False):
        with clickhouse_connect.get_client(dsn=clickhouse.url, compress=compress) as client:
            found = client.query("SELECT number FROM numbers(200000)").result_columns[0]
            assert list(found) == list(range(200000))


def test_stream_begins_at_once_and_stays_small(clickhouse: ClickHouseServer, client: Client) -> None:
    """A long answer begins to arrive in a quarter of a second and never piles up in the server.

    What the engine keeps for itself moves by some tens of megabytes from run to run, so the answer is long enough
    to stand out: were it held in memory, even for a third, the bound would break.
    """
    query = "SELECT number, toString(number) || repeat('-', 200) FROM numbers(4000000)"
    client.raw_query(f"SELECT count() FROM ({query})")
    server = psutil.Process(clickhouse.pid)
    before = server.memory_info().rss
    began = time.monotonic()
    stream = client.raw_stream(query, fmt="CSV")
    assert hasattr(stream, "read")
    size, most = len(stream.read(1)), 0
    first = time.monotonic() - began
    while piece := stream.read(4_000_000):
        size += len(piece)
        most = max(most, server.memory_info().rss - before)
    assert size > 850_000_000
    assert first < 0.25
    assert most < 290_000_000, f"{most >> 20} MiB more than before"


def test_row_stream_of_the_client(client: Client) -> None:
    """Blocks arrive one by one in the production client."""
    with client.query_row_block_stream("SELECT number FROM numbers(500000)") as blocks:
        sizes = [len(block) for block in blocks]
    assert sum(sizes) == 500000
    assert len(sizes) > 1


def test_error_after_the_beginning_reaches_the_client(client: Client) -> None:
    """A query that fails after its answer began raises in the production client, with code and text."""
    with (
        pytest.raises(StreamFailureError, match="broke on purpose") as raised,
        client.query_row_block_stream(BREAKS) as blocks,
    ):
        for _ in blocks:
            pass
    assert raised.value.code == 395


@pytest.mark.parametrize("encoding", ["identity", "zstd"])
def test_error_after_the_beginning_is_no_clean_end(http: httpx.Client, encoding: str) -> None:
    """The stream ends with the tagged error block and without the last chunk, compressed or not."""
    headers, params = {"Accept-Encoding": encoding}, {"enable_http_compression": 1}
    pieces: list[bytes] = []
    with (
        pytest.raises(httpx.RemoteProtocolError),
        http.stream("POST", "/", content=BREAKS + " FORMAT CSV", headers=headers, params=params) as answer,
    ):
        for piece in answer.iter_raw():
            pieces.append(piece)  # noqa: PERF402 - `extend` would keep nothing of what came before the error
    assert answer.status_code == 200
    received = b"".join(pieces)
    tag = answer.headers["X-ClickHouse-Exception-Tag"]
    text = received if encoding == "identity" else unpack(received, encoding)
    data, block = text.split(f"\r\n__exception__\r\n{tag}\r\n".encode())
    message = block.removesuffix(f" {tag}\r\n__exception__\r\n".encode()).decode()
    error, _, length = message.rpartition("\n")
    assert error.startswith("Code: 395. DB::Exception: broke on purpose")
    assert len(error.encode()) == int(length)
    assert data.count(b"\n") > 100_000


def test_curl_sees_the_break(clickhouse: ClickHouseServer) -> None:
    """curl ends with an error (18, partial file, or 56, receive) when the answer broke, and with 0 when it is whole."""
    curl = shutil.which("curl")
    assert curl is not None, "this test needs curl"
    command = [curl, "--silent", "--show-error", "--output", "/dev/null", clickhouse.url, "--data-binary"]
    assert subprocess.run([*command, BREAKS + " FORMAT CSV"], check=False, capture_output=True).returncode in {18, 56}
    whole = "SELECT number FROM numbers(1000000)"
    assert subprocess.run([*command, whole], check=False, capture_output=True).returncode == 0


def test_waiting_for_the_end_gives_an_error_its_status(http: httpx.Client) -> None:
    """With `wait_end_of_query` nothing is sent before the query ended, so a late error has its own status."""
    query = BREAKS.replace("100000000", "400001")
    answer = http.post("/", params={"wait_end_of_query": 1}, content=query)
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (500, "395")
    whole = http.post("/", params={"wait_end_of_query": 1}, content="SELECT number FROM numbers(1000000)")
    assert whole.headers["Content-Length"] == str(len(whole.content))


def test_queries_run_beside_each_other(http: httpx.Client) -> None:
    """Quick queries answer while a slow one and an unread stream go on."""
    slow_ended = threading.Event()

    def slow() -> None:
        http.post("/", content="SELECT sleep(2)")
        slow_ended.set()

    thread = threading.Thread(target=slow)
    thread.start()
    with http.stream("POST", "/", content="SELECT repeat('x', 1000) FROM numbers(10000000)") as unread:
        for number in range(20):
            assert http.post("/", content=f"SELECT {number}").text == f"{number}\n"
        assert not slow_ended.is_set()
        assert unread.status_code == 200
    thread.join()


def test_running_queries_are_seen(http: httpx.Client) -> None:
    """`system.processes` shows the `log_comment` and the client's query id while a query runs; the id is taken then."""
    params = {"log_comment": "topic:1:0-9", "query_id": "seen-1"}
    thread = threading.Thread(target=http.post, args=("/",), kwargs={"params": params, "content": "SELECT sleep(1.5)"})
    thread.start()
    look = "SELECT query FROM system.processes WHERE Settings['log_comment'] = 'topic:1:0-9'"
    text = eventually(lambda: http.post("/", content=look).text, 5, "the running query is listed")
    assert "SELECT sleep(1.5)" in text
    assert "/* query_id: seen-1 */" in text
    twice = http.post("/", params={"query_id": "seen-1"}, content="SELECT 1")
    assert twice.headers["X-ClickHouse-Exception-Code"] == "216"
    thread.join()
    assert http.post("/", content=look).text == ""
    assert http.post("/", params={"query_id": "seen-1"}, content="SELECT 1").text == "1\n"


@pytest.mark.parametrize(
    "query", [ENDLESS, "SELECT repeat('x', 1000) FROM numbers(1000000000000)"], ids=["silent", "streaming"]
)
def test_query_ends_with_its_client(http: httpx.Client, clickhouse: ClickHouseServer, query: str) -> None:
    """A query whose client went away is cancelled, whether or not it had sent anything."""
    marker = f"gone-{time.monotonic_ns()}"
    running = f"SELECT count() FROM system.processes WHERE Settings['log_comment'] = '{marker}'"
    with httpx.Client(base_url=clickhouse.url, timeout=0.3) as leaving, pytest.raises(httpx.ReadTimeout):
        with leaving.stream("POST", "/", params={"log_comment": marker}, content=query) as answer:
            answer.read() if query == ENDLESS else next(answer.iter_raw())
            assert http.post("/", content=running).text == "1\n"
            raise httpx.ReadTimeout("enough")
    eventually(lambda: http.post("/", content=running).text == "0\n", 5, "the query is gone")


def test_session_names_are_accepted(clickhouse: ClickHouseServer) -> None:
    """Clients that name a session are served; the session itself holds nothing."""
    with clickhouse_connect.get_client(dsn=clickhouse.url, session_id="s1", autogenerate_session_id=True) as client:
        assert client.command("SELECT 1") == 1


def test_asynchronous_client(clickhouse: ClickHouseServer, database: str) -> None:
    """The production client's asyncio flavour queries, inserts, streams and sees errors; many at once."""

    async def use() -> None:
        client = await clickhouse_connect.get_async_client(dsn=clickhouse.url, database=database)
        try:
            assert await client.ping()
            await client.command("CREATE TABLE t (a UInt64, b String) ENGINE MergeTree ORDER BY a")
            await client.insert("t", [[1, "x"], [2, "it's"]], column_names=["a", "b"])
            await client.raw_insert("t", ["a", "b"], b"3,three\n", fmt="CSV")
            assert (await client.query("SELECT b FROM t WHERE a = {a:UInt8}", {"a": 2})).result_rows == [("it's",)]
            answers = await asyncio.gather(*(client.query(f"SELECT {number}, sleep(0.05)") for number in range(20)))
            assert [answer.result_rows[0][0] for answer in answers] == list(range(20))
            count = 0
            async with await client.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
                async for block in blocks:
                    count += len(block)
            assert count == 300000
            assert await client.raw_query("SELECT count() FROM t", fmt="CSV") == b"3\n"
            # The asynchronous driver sees the connection break before it reads the block that says why.
            with pytest.raises(StreamFailureError, match=r"broke on purpose|closed by server"):
                async with await client.query_row_block_stream(BREAKS) as blocks:
                    async for _ in blocks:
                        pass
        finally:
            await client.close()

    asyncio.run(use())
