"""How the engine's failures look on the wire: code, status, text, and the block that ends a broken stream."""

from __future__ import annotations

import re
from enum import IntEnum
from http import HTTPStatus
from typing import Final


class Code(IntEnum):
    """The error codes that this process raises by itself; numbers and names are ClickHouse's."""

    CANNOT_READ_ALL_DATA = 33
    BAD_ARGUMENTS = 36
    NOT_IMPLEMENTED = 48
    SYNTAX_ERROR = 62
    UNKNOWN_FORMAT = 73
    UNKNOWN_COMPRESSION_METHOD = 89
    UNKNOWN_SETTING = 115
    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING = 216
    CANNOT_DECOMPRESS = 271
    INTO_OUTFILE_NOT_ALLOWED = 358
    QUERY_WAS_CANCELLED = 394
    AUTHENTICATION_FAILED = 516
    UNKNOWN_EXCEPTION = 1002


_PREFIX: Final = re.compile(r"Code: (\d+)\. DB::Exception: ")
_CODE: Final = re.compile(r"Code: (\d+)")
_VERSION: Final = re.compile(r" \(version [\w.+-]+(?: \([^)]*\))?\)")

# As `exceptionCodeToHTTPStatus` of the server has it; every other code is 500.
_STATUSES: Final = {
    HTTPStatus.BAD_REQUEST: (6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376)
    + (427, 441, 675, 676),
    HTTPStatus.UNAUTHORIZED: (194,),
    HTTPStatus.FORBIDDEN: (192, 193, 497, 512, 516),
    HTTPStatus.NOT_FOUND: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),
    HTTPStatus.REQUEST_TIMEOUT: (159,),
    HTTPStatus.LENGTH_REQUIRED: (381,),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (229,),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (779,),
    HTTPStatus.NOT_IMPLEMENTED: (48,),
    HTTPStatus.SERVICE_UNAVAILABLE: (76, 209, 439),
}
_STATUS_OF: Final = {code: status for status, codes in _STATUSES.items() for code in codes}


class ServerError(Exception):
    """A query that failed: ClickHouse's code and the full text a client shows."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(text)

    @classmethod
    def of(cls, code: Code, message: str) -> ServerError:
        """An error that this process raises itself."""
        return cls(code, f"Code: {code.value}. DB::Exception: {message}. ({code.name})")

    @classmethod
    def from_engine(cls, text: str) -> ServerError:
        """The error in what chdb raised: the wrapper's words cut off, a repeated prefix and suffix written once."""
        start = max(text.find("Code: "), 0) if not text.startswith("std::exception") else 0
        text = text[start:].strip()
        found = _CODE.search(text)
        code = int(found[1]) if found else Code.UNKNOWN_EXCEPTION
        while (prefix := _PREFIX.match(text)) and _PREFIX.match(text, prefix.end()):
            text = text[prefix.end() :]
            text = re.sub(r"(\([A-Z_0-9]+\))(?: \(version [^()]*\))?\. \1$", r"\1", text)
        return cls(code, _VERSION.sub("", text))

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status the server gives this code."""
        return _STATUS_OF.get(self.code, HTTPStatus.INTERNAL_SERVER_ERROR)

    def body(self, version: str) -> bytes:
        """The answer's text."""
        return f"{self.text} (version {version})\n".encode()

    def block(self, tag: str, version: str) -> bytes:
        """What follows the data when a query fails after its answer began (ClickHouse ≥ 25.11); then the connection is cut.

        `tag` is the random text announced in `X-ClickHouse-Exception-Tag`, so that data cannot fake the block.
        """
        message = f"{self.text} (version {version})".encode()
        head = f"\r\n__exception__\r\n{tag}\r\n".encode()
        tail = f"\n{len(message)} {tag}\r\n__exception__\r\n".encode()
        return head + message + tail
