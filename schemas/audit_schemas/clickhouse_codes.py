"""What ClickHouse's error codes mean for us, in one table. Codes: ClickHouse `src/Common/ErrorCodes.cpp`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from audit_schemas.errors import AuditError, ClickHouseBusy, ClickHouseUnavailable, ContractBroken, Refused, RowRejected

_ERRORS: Mapping[type[AuditError], Mapping[int, str]] = {
    ClickHouseBusy: {
        3: "UNEXPECTED_END_OF_FILE",
        74: "CANNOT_READ_FROM_FILE_DESCRIPTOR",
        75: "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
        76: "CANNOT_OPEN_FILE",
        159: "TIMEOUT_EXCEEDED",
        160: "TOO_SLOW",
        202: "TOO_MANY_SIMULTANEOUS_QUERIES",
        203: "NO_FREE_CONNECTION",
        209: "SOCKET_TIMEOUT",
        210: "NETWORK_ERROR",
        236: "ABORTED",
        241: "MEMORY_LIMIT_EXCEEDED",
        242: "TABLE_IS_READ_ONLY",
        243: "NOT_ENOUGH_SPACE",
        252: "TOO_MANY_PARTS",
        279: "ALL_CONNECTION_TRIES_FAILED",
        285: "TOO_FEW_LIVE_REPLICAS",
        319: "UNKNOWN_STATUS_OF_INSERT",
        394: "QUERY_WAS_CANCELLED",
        425: "SYSTEM_ERROR",
        439: "CANNOT_SCHEDULE_TASK",
        999: "KEEPER_EXCEPTION",
    },
    RowRejected: {
        6: "CANNOT_PARSE_TEXT",
        27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
        33: "CANNOT_READ_ALL_DATA",
        53: "TYPE_MISMATCH",
        69: "ARGUMENT_OUT_OF_BOUND",
        117: "INCORRECT_DATA",
        131: "TOO_LARGE_STRING_SIZE",
        376: "CANNOT_PARSE_UUID",
        1001: "STD_EXCEPTION",
    },
    ContractBroken: {
        8: "THERE_IS_NO_COLUMN",
        16: "NO_SUCH_COLUMN_IN_TABLE",
        36: "BAD_ARGUMENTS",
        44: "ILLEGAL_COLUMN",
        47: "UNKNOWN_IDENTIFIER",
        60: "UNKNOWN_TABLE",
        62: "SYNTAX_ERROR",
        81: "UNKNOWN_DATABASE",
        115: "UNKNOWN_SETTING",
        691: "UNKNOWN_ELEMENT_OF_ENUM",
    },
    Refused: {
        164: "READONLY",
        192: "UNKNOWN_USER",
        193: "WRONG_PASSWORD",
        194: "REQUIRED_PASSWORD",
        497: "ACCESS_DENIED",
        516: "AUTHENTICATION_FAILED",
    },
}
CODES: Mapping[int, tuple[type[AuditError], str]] = MappingProxyType(
    {code: (kind, name) for kind, codes in _ERRORS.items() for code, name in codes.items()}
)
_ROW = re.compile(r"at row (\d+)")
_NO_SPACE = re.compile(r"no space left|input/output error|filesystem error", re.IGNORECASE)


def error_of(code: int | None, text: str) -> AuditError:
    """Our error for a ClickHouse answer; a code that is not in the table is taken as a state that may pass.

    Two codes mean two things and are told apart by their text: 252 also says that one insert touches too many
    partitions, which no retry mends, and 1001 carries what the file system said.
    """
    if code is None:
        return ClickHouseUnavailable(text)
    kind = CODES.get(code, (ClickHouseBusy, ""))[0]
    if code == 252 and "partitions for single INSERT" in text:
        return ContractBroken(text)
    if kind is RowRejected:
        if _NO_SPACE.search(text):
            return ClickHouseBusy(text)
        row = _ROW.search(text)
        return RowRejected(text, int(row[1]) if row else None)
    return kind(text)


__all__ = ["CODES", "error_of"]
