"""Export jobs for the API and the page: who may ask for what, and what is recorded of it."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from audit_infra.access import Forbidden, Principal, Scope
from audit_infra.http.problems import ProblemError
from audit_query.asking import Asking, Question
from audit_query.exports import request
from audit_query.exports.files import Files
from audit_query.exports.form import MEDIA, Format
from audit_query.exports.job import GZIPPED, Asked, Export, Part, requester_of
from audit_query.exports.keys import Keys, PublicKey
from audit_query.exports.readme import readme
from audit_query.exports.store import ExportStore, KeyReused, Proof, QueueFull, WrongState
from audit_query.exports.telling import about, targets_of
from audit_query.plans import Plans
from audit_query.ports import Clock
from audit_query.problems import (
    export_expired,
    key_reused,
    no_such,
    too_many_exports,
    unavailable,
    wrong_state,
)
from audit_query.self_audit import SelfAudit

MOST: Final = 100
"""Jobs in one list."""


@dataclass(frozen=True, slots=True)
class Download:
    """A part as it is sent: its file, what it is called, its media type, and what it is part of."""

    path: Path
    name: str
    media: str
    export: Export
    part: Part


class Exports:
    """Every method takes a principal, whose workspace is the only one it can see. Raises `ProblemError`.

    An export of another workspace, and one that never was, are the same 404.
    """

    def __init__(
        self,
        store: ExportStore,
        keys: Keys,
        files: Files,
        asking: Asking,
        plans: Plans,
        self_audit: SelfAudit,
        clock: Clock,
        *,
        queued: int,
        late_after_s: float,
    ) -> None:
        self._store, self._keys, self._files = store, keys, files
        self._asking, self._plans, self._self_audit = asking, plans, self_audit
        self._clock, self._queued, self._late_after_s = clock, queued, late_after_s

    async def create(self, principal: Principal, key: str, value: Any) -> Export:
        """The job that a body asks for; of equal requests with one Idempotency-Key the same one.

        It is recorded in the log before it is queued: one that can't be is refused with the problem 503.
        """
        principal.require(Scope.EXPORT)
        wanted, faults = request.read(value)
        question = None
        if wanted is not None:
            try:
                question = await self._asking.question(principal, wanted.params, scope=Scope.EXPORT)
            except ProblemError as problem:
                faults += request.filter_faults(problem)
        request.refuse(faults)
        assert wanted is not None and question is not None  # noqa: S101, PT018  # anything else is a fault
        question.visibility.require_export()
        export = self._new(question, wanted)
        hashed = request.body_hash(value)
        try:
            asked_before = partial(self._store.asked_before, principal.workspace_id, key, hashed)
            if before := await asyncio.to_thread(asked_before):
                return before
            await asyncio.to_thread(self._store.check_room, principal.workspace_id, self._queued)
            await self._recorded("audit_log.export_requested", principal, export)
            made, _ = await asyncio.to_thread(self._store.create, export, key, hashed, self._queued)
        except KeyReused:
            raise key_reused() from None
        except QueueFull:
            raise too_many_exports(self._queued) from None
        return made

    async def jobs(self, principal: Principal, after: str, most: int) -> list[Export]:
        """The newest first, behind the job `after`. Raises the problem 404 when there is none of this id."""
        principal.require(Scope.EXPORT)
        behind = await self.job(principal, after) if after else None
        return await asyncio.to_thread(self._store.jobs, principal.workspace_id, behind, most)

    async def job(self, principal: Principal, export_id: str) -> Export:
        """One."""
        found = await self._export(principal, export_id)
        if found.kind != "job":
            raise no_such("export")
        return found

    async def cancel(self, principal: Principal, export_id: str) -> Export:
        """The job, cancelled; again, it changes nothing. Raises the problem 409 when it has ended otherwise."""
        found = await self.job(principal, export_id)
        if found.state in ("queued", "running"):
            await self._recorded("audit_log.export_cancelled", principal, found)
        cancel = partial(self._store.cancel, principal.workspace_id, export_id, self._now())
        return await self._changed(cancel)

    async def retry(self, principal: Principal, export_id: str) -> Export:
        """The failed or cancelled job, queued again with what is done of it. Raises the problem 409 in other states."""
        found = await self.job(principal, export_id)
        (await self._plans.visibility(principal)).require_export()
        if found.state in ("failed", "cancelled"):
            await self._recorded("audit_log.export_requested", principal, found, retry=True)
        return await self._changed(partial(self._store.retry, principal.workspace_id, export_id, self._queued))

    async def part(self, principal: Principal, export_id: str, number: int) -> Download:
        """A finished part. Raises the problem 410 when it has been deleted, for its time was over.

        Personal data in the clear needs the scope audit:pii, as everywhere.
        """
        found = await self.job(principal, export_id)
        (await self._plans.visibility(principal)).require_export()
        self._require_pii(principal, found)
        part = next((one for one in found.parts if one.number == number), None)
        if part is None:
            raise no_such("part")
        if found.expires_at is not None and found.expires_at <= self._clock():
            raise export_expired(found.expires_at)
        path = await asyncio.to_thread(self._files.path, export_id, part)
        if path is None:
            raise unavailable()
        return Download(path, found.file(number), media_of(found.asked.form.format), found, part)

    def downloaded(self, principal: Principal, download: Download, first: int, wanted: int, sent: int) -> None:
        """Records how much of a part was sent: `wanted` bytes from `first` on were asked for."""
        metadata: dict[str, Any] = {
            "part": download.part.number,
            "bytes": sent,
            "whole": first == 0 and sent == download.part.bytes,
            "aborted": sent < wanted,
        }
        if principal.credential_prefix:
            metadata["credential_prefix"] = principal.credential_prefix
        if (first, wanted) != (0, download.part.bytes):
            metadata["range"] = f"bytes {first}-{first + wanted - 1}/{download.part.bytes}"
        self._self_audit.note(
            "audit_log.export_downloaded", principal, targets=targets_of(download.export), metadata=metadata
        )

    async def proof(self, principal: Principal, export_id: str) -> Proof:
        """The signed manifest of a job or a stream that has ended. Raises the problem 409 until it is there."""
        found = await self._export(principal, export_id)
        self._require_pii(principal, found)
        proof = await asyncio.to_thread(self._store.proof, principal.workspace_id, export_id)
        if proof is None:
            raise wrong_state(f"the export is {found.state}, and its manifest is not there yet", retry_after_s=1)
        return proof

    async def readme(self, principal: Principal, export_id: str) -> str:
        """The text that explains the pack; there when the manifest is."""
        return readme((await self.proof(principal, export_id)).manifest)

    async def signing_keys(self, principal: Principal) -> list[PublicKey]:
        """All keys that manifests were ever signed with, the newest first."""
        principal.require(Scope.EXPORT)
        return await asyncio.to_thread(self._keys.all)

    def _new(self, question: Question, wanted: request.Wanted) -> Export:
        asked = Asked(
            requester=requester_of(question.principal),
            plan=question.visibility.plan,
            pii=question.pii,
            form=replace(wanted.form, late_after_s=self._late_after_s),
            sent=wanted.sent,
            filter=question.shown,
        )
        return Export(uuid.uuid4().hex, question.workspace_id, "job", "queued", asked, self._now())

    async def _export(self, principal: Principal, export_id: str) -> Export:
        principal.require(Scope.EXPORT)
        if not (len(export_id) == 32 and export_id.isascii() and export_id.isalnum()):  # hex of a UUID
            raise no_such("export")
        found = await asyncio.to_thread(self._store.get, principal.workspace_id, export_id)
        if found is None:
            raise no_such("export")
        return found

    async def _changed(self, change: partial[Export | None]) -> Export:
        try:
            found = await asyncio.to_thread(change)
        except WrongState as wrong:
            raise wrong_state(str(wrong)) from None
        except QueueFull:
            raise too_many_exports(self._queued) from None
        if found is None:
            raise no_such("export")
        return found

    async def _recorded(self, event_type: str, principal: Principal, export: Export, *, retry: bool = False) -> None:
        metadata = about(export) | ({"retry": True} if retry else {})
        await self._self_audit.must(event_type, principal, targets=targets_of(export), metadata=metadata)

    def _require_pii(self, principal: Principal, export: Export) -> None:
        if export.asked.pii and not principal.may(Scope.PII):
            raise Forbidden(f"this export holds personal data in the clear; it needs the scope {Scope.PII}")

    def _now(self) -> datetime:
        """As the tables have instants: in milliseconds."""
        now = self._clock()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)


def media_of(form: Format) -> str:
    """The media type of a part's file."""
    return "application/gzip" if form in GZIPPED else MEDIA[form]


__all__ = ["MOST", "Download", "Exports", "media_of"]
