"""How the command line asks the query service for an export: the job, its files, and the proof that goes with them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from audit_cli.patience import Patience
from audit_cli.service import Service, ServiceProblem, Unreachable
from audit_query.exports.checking import safe_name
from audit_schemas.errors import AuditError

PIECE = 256 * 1024
_MOST = 32 * 1024 * 1024
"""Bytes of an answer that is read at once."""
Count = Annotated[int, Field(ge=0)]


class NotUnderstood(AuditError):
    """The service answered something else than it should: it is another one, or of another version."""


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RemotePart(_Read):
    """A finished file at the service."""

    number: Annotated[int, Field(ge=1)]
    file: Annotated[str, AfterValidator(safe_name)]
    rows: Count
    bytes: Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class JobError(_Read):
    """Why an export failed."""

    type: str
    detail: str


class Job(_Read):
    """An export as the service knows it now."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
    state: Literal["queued", "running", "done", "failed", "cancelled", "expired"]
    rows_done: Count
    rows_total: Count | None
    parts: tuple[RemotePart, ...]
    error: JobError | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it by itself."""
        return self.state not in ("queued", "running")


class _Keys(_Read):
    class Key(_Read):
        key_id: str
        public_key_pem: str

    data: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class ExportClient:
    """Asks again as `patience` allows. All methods raise `ServiceProblem`, `Unreachable` and `NotUnderstood`."""

    service: Service
    note: Callable[[str], None]
    wait: Callable[[float], None]

    def create(self, request: Mapping[str, Any], key: str) -> Job:
        """The job of this request: a new one, or that which an earlier request with the key has made."""
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        return _job(self._whole("/v1/exports", headers, "POST", json.dumps(request).encode()))

    def job(self, export_id: str) -> Job:
        """How far it is."""
        return _job(self._whole(self._address(export_id)))

    def retry(self, export_id: str) -> Job:
        """Has a failed job tried again; one that goes on already is left alone."""
        try:
            return _job(self._whole(self._address(export_id, "retry"), {}, "POST"))
        except ServiceProblem as problem:
            if problem.status != 409:
                raise
            return self.job(export_id)

    def file(self, export_id: str, name: str) -> bytes:
        """`manifest`, `manifest.sig` or `readme`."""
        return self._whole(self._address(export_id, name))

    def keys(self) -> dict[str, bytes]:
        """The public keys that the service signs with and has signed with, as PEM by their ids."""
        try:
            found = _Keys.model_validate_json(self._whole("/v1/signing-keys"))
        except ValidationError:
            raise NotUnderstood("the answer about signing keys can't be understood") from None
        return {one.key_id: one.public_key_pem.encode() for one in found.data}

    @contextmanager
    def part(self, export_id: str, part: RemotePart, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Once, the bytes of a part from `start` on, and where they really begin: there, or at 0."""
        headers = {"Range": f"bytes={start}-", "If-Range": f'"{part.sha256}"'} if start else {}
        with self.service.open(self._address(export_id, f"parts/{part.number}"), headers) as answer:
            begins = start if answer.status == 206 else 0
            if begins and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise NotUnderstood(f"part {part.number} was asked for from byte {start} on, and came otherwise")
            yield begins, self._pieces(answer)

    def _pieces(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        while True:
            try:
                piece = answer.read1(PIECE)  # what is there: nothing that came is lost to a crash
            except (OSError, http.client.HTTPException) as error:
                raise self.service.unreachable(error) from None
            if not piece:
                return
            yield piece

    def _whole(
        self, address: str, headers: Mapping[str, str] | None = None, method: str = "GET", body: bytes | None = None
    ) -> bytes:
        patience = Patience(self.note, self.wait)
        while True:
            try:
                with self.service.open(address, headers or {}, method=method, body=body) as answer:
                    found = b"".join(self._within(answer))
                    if (length := answer.headers.get("Content-Length")) and int(length) != len(found):
                        raise Unreachable(f"the answer of {self.service.url} broke off")
                    return found
            except (ServiceProblem, Unreachable) as error:
                patience.after(error)

    def _within(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        read = 0
        for piece in self._pieces(answer):
            read += len(piece)
            if read > _MOST:
                raise NotUnderstood(f"the answer has more than {_MOST} bytes")
            yield piece

    def _address(self, export_id: str, further: str = "") -> str:
        return f"/v1/exports/{quote(export_id, safe='')}" + (f"/{further}" if further else "")


def _job(answer: bytes) -> Job:
    try:
        return Job.model_validate_json(answer)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise NotUnderstood(f"the answer about the export can't be understood ({where})") from None


__all__ = ["ExportClient", "Job", "NotUnderstood", "RemotePart"]
