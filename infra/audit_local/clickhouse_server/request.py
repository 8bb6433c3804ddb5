"""What a client asked for: the URL, the headers and a form, sorted into settings, bound parameters and wishes."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from audit_local.clickhouse_server.errors import Code, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TRUE: Final = frozenset({"1", "true"})
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
# Read here or without meaning on one machine; the server does not pass them to the query as settings either.
_OWN: Final = frozenset(
    {"user", "password", "quota_key", "role", "database", "query", "query_id", "default_format", "stacktrace"}
    | {"session_id", "session_timeout", "session_check", "client_protocol_version"}
    | {"compress", "decompress", "wait_end_of_query", "buffer_size"}
)
DEFAULT_FORMAT: Final = "TabSeparated"


@dataclass(frozen=True, slots=True)
class Session:
    """What holds for one query and no other: the database, the settings, the values of `{name:Type}`."""

    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)

    def set_statement(self) -> str:
        """The SET that a fresh connection gets before the query, or nothing."""
        values = {**self.settings, **{f"param_{name}": value for name, value in self.parameters.items()}}
        # Last, because nothing can be set after it.
        readonly = values.pop("readonly", None)
        if readonly is not None:
            values["readonly"] = readonly
        return "SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in values.items()) if values else ""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, without its body."""

    query: bytes
    query_id: str
    session: Session
    format: str
    user: str
    password: str
    wait_end_of_query: bool
    accept_encoding: str
    content_encoding: str
    form_boundary: bytes

    def with_form(self, fields: Mapping[str, bytes]) -> Request:
        """The same request with what a form carried: the query and bound parameters."""
        query = self.query
        parameters = dict(self.session.parameters)
        for name, value in fields.items():
            if name == "query":
                query += value
            elif name.startswith("param_"):
                parameters[_parameter(name)] = value.decode(errors="surrogateescape")
            else:
                raise ServerError.of(Code.NOT_IMPLEMENTED, f"External data ({name!r}) is not supported by this server")
        return replace(self, query=query, session=replace(self.session, parameters=parameters))


def quoted(text: str) -> str:
    """`text` as a string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def parse(method: str, query_string: bytes, raw_headers: Iterable[tuple[bytes, bytes]]) -> Request:
    """Reads a request; raises `ServerError` for what this server refuses."""
    headers = {name.decode("latin-1").lower(): value.decode(errors="surrogateescape") for name, value in raw_headers}
    url = dict(
        parse_qsl(query_string.decode(errors="surrogateescape"), keep_blank_values=True, errors="surrogateescape")
    )
    for flag in ("compress", "decompress"):
        if url.get(flag) in _TRUE:
            raise ServerError.of(
                Code.NOT_IMPLEMENTED,
                f"{flag}=1 (ClickHouse's own block compression) is not supported by this server,"
                " use Accept-Encoding and Content-Encoding",
            )
    settings: dict[str, str] = {}
    parameters: dict[str, str] = {}
    for name, value in url.items():
        if name.startswith("param_"):
            parameters[_parameter(name)] = value
        elif name not in _OWN:
            if not _NAME.fullmatch(name):
                raise ServerError.of(Code.UNKNOWN_SETTING, f"Unknown setting {name!r}")
            settings[name] = value
    if method != "POST" and settings.get("readonly", "0") == "0":
        # As on the server: what is asked with GET changes nothing.
        settings["readonly"] = "2"
    form = url.get("default_format") or headers.get("x-clickhouse-format") or DEFAULT_FORMAT
    if not _NAME.fullmatch(form):
        raise ServerError.of(Code.UNKNOWN_FORMAT, f"Unknown format {form!r}")
    user, password = _credentials(url, headers)
    compressed = settings.get("enable_http_compression", "0") in _TRUE
    return Request(
        query=url.get("query", "").encode(errors="surrogateescape"),
        query_id=url.get("query_id") or str(uuid.uuid4()),
        session=Session(url.get("database") or headers.get("x-clickhouse-database", ""), settings, parameters),
        format=form,
        user=user,
        password=password,
        wait_end_of_query=url.get("wait_end_of_query") in _TRUE,
        accept_encoding=headers.get("accept-encoding", "") if compressed else "",
        content_encoding=headers.get("content-encoding", "").strip().lower(),
        form_boundary=_boundary(headers.get("content-type", "")),
    )


def form_fields(body: bytes, boundary: bytes) -> dict[str, bytes]:
    """The fields of a `multipart/form-data` body, which clients use when bound parameters are too long for a URL."""
    fields: dict[str, bytes] = {}
    state = {"header": b"", "value": b"", "name": b"", "data": b""}

    def header_end() -> None:
        if state["header"].lower() == b"content-disposition":
            state["name"] = parse_options_header(state["value"])[1].get(b"name", b"")
        state["header"] = state["value"] = b""

    def part_end() -> None:
        fields[state["name"].decode(errors="surrogateescape")] = state["data"]
        state["data"] = b""

    def collect(key: str, data: bytes, start: int, end: int) -> None:
        state[key] += data[start:end]

    parser = MultipartParser(
        boundary,
        {
            "on_header_field": lambda data, start, end: collect("header", data, start, end),
            "on_header_value": lambda data, start, end: collect("value", data, start, end),
            "on_header_end": header_end,
            "on_part_data": lambda data, start, end: collect("data", data, start, end),
            "on_part_end": part_end,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise ServerError.of(Code.BAD_ARGUMENTS, f"The form cannot be read: {error}") from None
    return fields


def permitted(request: Request, user: str, password: str) -> bool:
    """Whether the request carries these credentials; compared in constant time."""
    same_user = secrets.compare_digest(request.user.encode(errors="surrogateescape"), user.encode())
    same_password = secrets.compare_digest(request.password.encode(errors="surrogateescape"), password.encode())
    return same_user and same_password


def _credentials(url: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise ServerError.of(Code.AUTHENTICATION_FAILED, "Invalid authentication header") from None
        return user, password
    user = headers.get("x-clickhouse-user") or url.get("user") or "default"
    return user, headers.get("x-clickhouse-key") or url.get("password", "")


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    return options.get(b"boundary", b"") if kind == b"multipart/form-data" else b""


def _parameter(name: str) -> str:
    bare = name.removeprefix("param_")
    if not _NAME.fullmatch(bare):
        raise ServerError.of(Code.BAD_ARGUMENTS, f"{name!r} is no name of a query parameter")
    return bare
