"""The body that asks for an export job. Pure."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audit_infra.http.body_problems import wrong_shape
from audit_infra.http.problems import INVALID_REQUEST, Fault, ProblemError, invalid
from audit_query.exports.form import FORMATS, Form, Format
from audit_query.exports.rows import COLUMN_NAMES
from audit_query.filters import Params

KEY: Final = "Idempotency-Key"
SHORTEST_KEY, LONGEST_KEY = 8, 128
_CODES: Final = {
    "extra_forbidden": "unknown_field",
    "literal_error": "unknown_value",
    "string_type": "wrong_type",
    "bool_type": "wrong_type",
    "list_type": "wrong_type",
    "dict_type": "wrong_type",
    "model_type": "wrong_type",
}
_BESIDE: Final = "stands beside the filter, not in it"


class NewExport(BaseModel):
    """The body of `POST /v1/exports`. `filter` takes the filter parameters of every address, each with its values."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal["csv", "ndjson", "parquet"]
    filter: dict[str, list[str]] = Field(default_factory=dict)
    columns: list[str] | None = Field(None, max_length=100)
    tz: str = Field("UTC", min_length=1, max_length=64)
    raw: bool = False
    order: Literal["desc", "asc"] = "desc"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A body that is well-formed; whether its filter is good, `params` have yet to tell."""

    form: Form
    sent: tuple[tuple[str, tuple[str, ...]], ...]
    tz: str

    @property
    def params(self) -> Params:
        """The filter as the parameters of a request."""
        zone = [] if self.tz == "UTC" else [("tz", self.tz)]
        return [*((name, value) for name, values in self.sent for value in values), *zone]


def read(value: Any) -> tuple[Wanted | None, list[Fault]]:
    """What is wanted, None when the body's shape is wrong; and everything wrong with the body beside its filter."""
    try:
        body = NewExport.model_validate(value)
    except ValidationError as error:
        return None, [_fault(dict(one)) for one in error.errors(include_url=False)]
    faults = list(_filter_faults(body)) + list(_column_faults(body.format, body.columns or []))
    if body.raw and body.format != "csv":
        faults.append(Fault("/raw", "not_for_format", "is of the format csv alone", place="body"))
    form = Form(
        format=body.format,
        columns=tuple(body.columns or ()),
        zone=body.tz,
        raw=body.raw,
        ascending=body.order == "asc",
    )
    sent = tuple((name, tuple(values)) for name, values in body.filter.items() if name != "tz")
    return Wanted(form, sent, body.tz), faults


def refuse(faults: Sequence[Fault]) -> None:
    """Raises the problem 422 that lists everything wrong with a body, if anything is."""
    if faults:
        raise wrong_shape(tuple(faults))


def filter_faults(problem: ProblemError) -> list[Fault]:
    """The faults of a filter as faults of the body. Raises the problem again when it is of another kind."""
    if problem.kind is not INVALID_REQUEST:
        raise problem
    return [_in_body(fault) for fault in problem.faults]


def check_key(given: Sequence[str]) -> str:
    """The one Idempotency-Key of a request. Raises the problem 400 when there is none, or none that is good."""
    if len(given) != 1:
        message = "must be given once, so that a request that is repeated makes no second export"
        raise invalid((Fault(KEY, "missing" if not given else "repeated", message, place="header"),))
    (key,) = given
    if not (SHORTEST_KEY <= len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        message = f"must have {SHORTEST_KEY} to {LONGEST_KEY} printable ASCII characters"
        raise invalid((Fault(KEY, "malformed", message, place="header"),))
    return key


def body_hash(value: Any) -> str:
    """Equal for bodies that say the same, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _filter_faults(body: NewExport) -> Iterator[Fault]:
    for name, values in body.filter.items():
        if name == "tz":
            yield Fault(_pointer("filter", name), "unknown_parameter", _BESIDE, place="body")
        elif not values:
            yield Fault(_pointer("filter", name), "length", "must have at least one value", place="body")


def _column_faults(form: Format, columns: Sequence[str]) -> Iterator[Fault]:
    known = COLUMN_NAMES[form]
    for number, name in enumerate(columns):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            message = f"{name[:100]!r} is not a column of {form}{hint}"
            yield Fault(f"/columns/{number}", "unknown_value", message, known, place="body")
        elif name in columns[:number]:
            yield Fault(f"/columns/{number}", "repeated", f"{name!r} is there twice", place="body")


def _in_body(fault: Fault) -> Fault:
    pointer = "/tz" if fault.name == "tz" else _pointer("filter", *([fault.name] if fault.name else []))
    return Fault(pointer, fault.code, fault.message, fault.allowed, place="body")


def _fault(error: dict[str, Any]) -> Fault:
    allowed = {"format": FORMATS, "order": ("desc", "asc")}.get(error["loc"][0] if error["loc"] else "", ())
    code = _CODES.get(error["type"], error["type"])
    return Fault(_pointer(*error["loc"]), code, error["msg"], allowed if code == "unknown_value" else (), place="body")


def _pointer(*path: str | int) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)[:200]


__all__ = [
    "KEY",
    "LONGEST_KEY",
    "SHORTEST_KEY",
    "NewExport",
    "Wanted",
    "body_hash",
    "check_key",
    "filter_faults",
    "read",
    "refuse",
]
