"""The pure parts of the ClickHouse front: statements, requests, bodies, encodings, errors."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_local.clickhouse_server import compression
from audit_local.clickhouse_server.answer import native_header
from audit_local.clickhouse_server.body import Spool
from audit_local.clickhouse_server.errors import Code, ServerError
from audit_local.clickhouse_server.request import Request, form_fields, parse, permitted
from audit_local.clickhouse_server.statement import DataInsert, Other, Read, analyse, insert_at_start


@pytest.mark.parametrize(
    ("query", "body", "form", "tail"),
    [
        (b"SELECT 1", b"SELECT 1", None, b""),
        (b"SELECT 1;\n;", b"SELECT 1", None, b""),
        (b"SELECT 1 FORMAT CSV", b"SELECT 1 ", "CSV", b""),
        (b"select 1 format JSON settings max_threads=1;", b"select 1 ", "JSON", b" settings max_threads=1"),
        (b"SELECT format FROM t FORMAT CSV -- FORMAT X", b"SELECT format FROM t ", "CSV", b" -- FORMAT X"),
        (b"SELECT 'FORMAT CSV'", b"SELECT 'FORMAT CSV'", None, b""),
        (b"SELECT $a$ FORMAT CSV $a$", b"SELECT $a$ FORMAT CSV $a$", None, b""),
        (b"SELECT `FORMAT` FORMAT TSV", b"SELECT `FORMAT` ", "TSV", b""),
        (b"SELECT 'it\\'s; FORMAT CSV'", b"SELECT 'it\\'s; FORMAT CSV'", None, b""),
        (b"SELECT 1 AS format", b"SELECT 1 AS format", None, b""),
        (b"/* FORMAT X */ WITH x AS (SELECT 1 FORMAT) SELECT 1", None, None, b""),
        (b"(SELECT 1) UNION ALL (SELECT 2) FORMAT CSV", b"(SELECT 1) UNION ALL (SELECT 2) ", "CSV", b""),
        (b"FROM t SELECT a", b"FROM t SELECT a", None, b""),
    ],
)
def test_read_statement(query: bytes, body: bytes | None, form: str | None, tail: bytes) -> None:
    """A SELECT is split at its own FORMAT clause, never at a word in a text, a comment, a name or a subquery."""
    assert analyse(query) == Read(query if body is None else body, form, tail)


@pytest.mark.parametrize(
    ("query", "head", "form", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2", b"INSERT INTO t ", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT CSV \t\r\n\n1", b"INSERT INTO t ", "CSV", b"\n1"),
        (b"insert into t(a, b) format TSV 1\t2", b"insert into t(a, b) ", "TSV", b"1\t2"),
        (b"INSERT INTO t SETTINGS a=1 FORMAT RowBinary\n\n\0", b"INSERT INTO t SETTINGS a=1 ", "RowBinary", b"\n\0"),
        (b"INSERT INTO format FORMAT CSV\n1", b"INSERT INTO format ", "CSV", b"1"),
        (b"INSERT INTO TABLE `a b`.`FORMAT X` FORMAT CSV\n", b"INSERT INTO TABLE `a b`.`FORMAT X` ", "CSV", b""),
        (b"INSERT INTO FUNCTION file('FORMAT', 'CSV') FORMAT CSV\n1", None, "CSV", b"1"),
        (
            b"-- FORMAT A\nINSERT INTO t FORMAT Avro\nObj\x01;'\"",
            b"-- FORMAT A\nINSERT INTO t ",
            "Avro",
            b"Obj\x01;'\"",
        ),
    ],
)
def test_insert_statement(query: bytes, head: bytes | None, form: str, data: bytes) -> None:
    """Inserted data begins where the server says: after blanks and one line break behind the format's name."""
    statement = analyse(query)
    assert isinstance(statement, DataInsert)
    assert statement.format == form
    assert query[statement.data_at :] == data
    if head is not None:
        assert statement.head == head


@pytest.mark.parametrize(
    ("query", "form"),
    [
        (b"INSERT INTO t VALUES (1, 'FORMAT CSV'); (2, '')", None),
        (b"INSERT INTO t FORMAT Values (1)", None),
        (b"INSERT INTO t SELECT 1", None),
        (b"INSERT INTO t FROM INFILE 'x' FORMAT CSV", None),
        (b"WITH 1 AS x INSERT INTO t SELECT x", None),
        (b"SHOW TABLES FORMAT JSON", "JSON"),
        (b"CREATE TABLE t (format String) ENGINE Memory", None),
    ],
)
def test_other_statement(query: bytes, form: str | None) -> None:
    """What is neither a SELECT nor an INSERT with formatted data goes to the engine as it came."""
    assert analyse(query) == Other(query, form)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (b"SELECT 1; SELECT 2", Code.SYNTAX_ERROR),
        (b" -- nothing\n", Code.SYNTAX_ERROR),
        (b"SELECT 1 INTO OUTFILE '/tmp/x'", Code.INTO_OUTFILE_NOT_ALLOWED),
    ],
)
def test_refused_statement(query: bytes, code: Code) -> None:
    """Several statements, none, or one that writes files of the server's machine are refused as by the server."""
    with pytest.raises(ServerError) as refused:
        analyse(query)
    assert refused.value.code == code


def test_insert_is_found_in_the_beginning_of_a_body() -> None:
    """The statement is recognised in any first part of a body that reaches into the data, and never in a shorter one."""
    text = b"INSERT INTO t (a) SETTINGS async_insert=0 FORMAT CSV\n1,2\n"
    whole = analyse(text)
    assert isinstance(whole, DataInsert)
    for length in range(len(text)):
        assert insert_at_start(text[:length]) == (whole if length > whole.data_at else None)


def request(method: str = "POST", url: bytes = b"", **headers: str) -> Request:
    """A request without a body; `X_Y="z"` is the header X-Y."""
    return parse(method, url, [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()])


def test_url_is_sorted_into_settings_parameters_and_wishes() -> None:
    """What the server reads itself is no setting; `param_*` are bound values, byte for byte."""
    found = request(
        url=b"query=SELECT+1%2B1&param_a=it%27s%09%C3%A9&max_threads=2&database=d&session_id=s&wait_end_of_query=1"
        b"&default_format=CSV&query_id=q&log_comment=%27%5C"
    )
    assert found.query == b"SELECT 1+1"
    assert found.session.parameters == {"a": "it's\té"}
    assert found.session.settings == {"max_threads": "2", "log_comment": "'\\"}
    assert (found.session.database, found.format, found.query_id) == ("d", "CSV", "q")
    assert found.wait_end_of_query
    assert found.session.set_statement() == "SET max_threads = '2', log_comment = '\\'\\\\', param_a = 'it\\'s\té'"


@pytest.mark.parametrize("url", [b"", b"readonly=0"])
def test_get_is_read_only(url: bytes) -> None:
    """GET sets `readonly`, after all other settings because nothing can be set behind it."""
    settings = request("GET", url + b"&max_threads=1").session
    assert settings.set_statement() == "SET max_threads = '1', readonly = '2'"
    assert request("GET", b"readonly=1").session.settings == {"readonly": "1"}


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (b"a%20b=1", Code.UNKNOWN_SETTING),
        (b"param_=1", Code.BAD_ARGUMENTS),
        (b"compress=1", Code.NOT_IMPLEMENTED),
        (b"decompress=1", Code.NOT_IMPLEMENTED),
        (b"default_format=CSV;x", Code.UNKNOWN_FORMAT),
    ],
)
def test_refused_url(url: bytes, code: Code) -> None:
    """Names that cannot be a setting, a parameter or a format, and what is not supported, are errors with a code."""
    with pytest.raises(ServerError) as refused:
        request(url=url)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "sent",
    [
        request(url=b"user=u&password=p%C3%A9"),
        request(X_ClickHouse_User="u", X_ClickHouse_Key="pé"),
        request(Authorization="Basic dTpww6k="),
    ],
    ids=["url", "headers", "basic"],
)
def test_credentials(sent: Request) -> None:
    """Credentials are read from the URL, ClickHouse's headers and basic authentication."""
    assert sent.user == "u"
    assert not permitted(sent, "u", "other")
    assert not permitted(sent, "other", sent.password)
    assert permitted(sent, "u", sent.password)


def test_form_carries_query_and_parameters() -> None:
    """A form's fields are taken byte for byte; anything but the query and bound values is refused."""
    body = (
        b'--B\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT {a:String}\r\n'
        b'--B\r\nContent-Disposition: form-data; name="param_a"\r\nContent-Type: text/plain\r\n\r\n\r\n--x\r\n--B--\r\n'
    )
    fields = form_fields(body, b"B")
    found = request(Content_Type="multipart/form-data; boundary=B").with_form(fields)
    assert found.query == b"SELECT {a:String}"
    assert found.session.parameters == {"a": "\r\n--x"}
    with pytest.raises(ServerError, match="not supported"):
        found.with_form({"external": b"1"})
    with pytest.raises(ServerError, match="form cannot be read"):
        form_fields(b"junk", b"B")


@given(st.lists(st.binary(max_size=20)), st.integers(0, 60), st.integers(0, 40))
def test_spool_gives_back_what_it_took(pieces: list[bytes], skip: int, memory_bytes: int) -> None:
    """A body is the same from memory and from its file, from any position on."""
    with Spool(Path("/tmp"), memory_bytes) as spool:
        for piece in pieces:
            spool.append(piece)
        text = b"".join(pieces)
        assert spool.size == len(text)
        assert spool.start(7) == text[:7]
        assert b"".join(spool.pieces(skip)) == text[skip:]


@pytest.mark.parametrize("memory_bytes", [0, 1000], ids=["file", "memory"])
def test_closed_spool_never_looks_shorter(tmp_path: Path, memory_bytes: int) -> None:
    """Who reads a body that was given up gets an error, so that no part of it passes for the whole."""
    spool = Spool(tmp_path, memory_bytes)
    for _ in range(3):
        spool.append(b"x")
    reader = spool.pieces()
    spool.close()
    with pytest.raises((RuntimeError, ValueError)):
        list(reader)
    assert not list(tmp_path.iterdir())


@given(st.sampled_from(["lz4", "zstd", "gzip", "deflate"]), st.lists(st.binary(max_size=50)), st.integers(1, 9))
def test_encodings_round_trip(encoding: str, pieces: list[bytes], step: int) -> None:
    """Every encoding is undone exactly, however the bytes are cut on their way, and also as two frames in a row."""
    packed = b""
    for _ in range(2):
        encoder = compression.encoder(encoding)
        packed += b"".join(map(encoder.encode, pieces)) + encoder.finish()
    decoder = compression.Decoder(encoding)
    unpacked = b"".join(decoder.decode(packed[at : at + step]) for at in range(0, len(packed), step))
    decoder.finish()
    assert unpacked == b"".join(pieces) * 2


def test_damaged_encodings_are_errors() -> None:
    """An unknown encoding, damaged bytes and a frame cut short each have ClickHouse's code."""
    with pytest.raises(ServerError) as unknown:
        compression.Decoder("br")
    assert unknown.value.code == Code.UNKNOWN_COMPRESSION_METHOD
    for encoding in ("lz4", "zstd", "gzip", "deflate"):
        with pytest.raises(ServerError) as damaged:
            compression.Decoder(encoding).decode(b"this is no frame at all, but long enough to tell")
        assert damaged.value.code == Code.CANNOT_DECOMPRESS
    cut = compression.Decoder("gzip")
    cut.decode(gzip.compress(b"x" * 100)[:-3])
    with pytest.raises(ServerError) as short:
        cut.finish()
    assert short.value.code == Code.CANNOT_READ_ALL_DATA


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [("", ""), ("identity", ""), ("gzip, zstd", "zstd"), ("lz4;q=0, GZIP ;q=0.5", "gzip"), ("br", "")],
)
def test_encoding_choice(accepted: str, chosen: str) -> None:
    """The cheapest encoding that the client takes is used, and none that it refuses."""
    assert compression.choose(accepted) == chosen


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (
            "Code: 60. DB::Exception: Table nope does not exist. (UNKNOWN_TABLE)",
            60,
            "Code: 60. DB::Exception: Table nope does not exist. (UNKNOWN_TABLE)",
        ),
        (
            "Streaming insert finish failed: Code: 27. DB::Exception: bad: (at row 2)\n. (CANNOT_PARSE) (version 26.9.2.1)",
            27,
            "Code: 27. DB::Exception: bad: (at row 2)\n. (CANNOT_PARSE)",
        ),
        (
            "Code: 115. DB::Exception: Code: 115. DB::Exception: Unknown setting 'x'. (UNKNOWN_SETTING)"
            " (version 26.9.2.1). (UNKNOWN_SETTING)",
            115,
            "Code: 115. DB::Exception: Unknown setting 'x'. (UNKNOWN_SETTING)",
        ),
        (
            "std::exception. Code: 1001, type: avro::Exception, e.what() = EOF reached (version 26.9.2.1)",
            1001,
            "std::exception. Code: 1001, type: avro::Exception, e.what() = EOF reached",
        ),
        ("no code at all", 1002, "no code at all"),
    ],
)
def test_engine_errors(raised: str, code: int, text: str) -> None:
    """The engine's code and text survive; wrappers, repetitions and the version are cut off."""
    error = ServerError.from_engine(raised)
    assert (error.code, error.text) == (code, text)
    assert error.body("1.2").endswith(b" (version 1.2)\n")


@pytest.mark.parametrize(
    ("code", "status"), [(62, 400), (60, 404), (516, 403), (159, 408), (48, 501), (241, 500), (1002, 500)]
)
def test_status_of_a_code(code: int, status: int) -> None:
    """The HTTP status follows the server's own table; 500 is for all that is not in it."""
    assert ServerError(code, "").status == status


def test_native_header() -> None:
    """A block without rows names its columns, as the Native format has it."""
    assert native_header([("a", "UInt8"), ("é" * 100, "String")]) == (
        b"\x02\x00\x01a\x05UInt8\xc8\x01" + "é".encode() * 100 + b"\x06String"
    )
