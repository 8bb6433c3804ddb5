"""Fetches an export into a folder: waits for its parts, takes each up where it was cut, and checks all of it at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from audit_cli.export_client import ExportClient, Job, NotUnderstood, RemotePart
from audit_cli.export_folder import STATE, ExportFolder, Memory, Partial
from audit_cli.patience import Patience
from audit_cli.service import ServiceProblem, Unreachable
from audit_query.exports.checking import MANIFEST, README, SIGNATURE, PublicKey, Report, check, public_key
from audit_query.exports.checking.manifest import Refused, read
from audit_schemas.errors import AuditError

_SHORTEST_S, _LONGEST_S = 0.5, 5.0
_DAMAGED_TRIES = 3
_OWN = {MANIFEST: "manifest", SIGNATURE: "manifest.sig", README: "readme"}


class NotComplete(AuditError):
    """The export ended without being complete, or its files are gone."""


class Display(Protocol):
    """What is shown while it takes time."""

    def made(self, rows: int, total: int | None) -> None:
        """So many rows are ready at the service."""

    def fetched(self, size: int, total: int) -> None:
        """So many bytes are here, of those that are ready."""


class Fetching:
    """One export and its folder. Everything may be repeated after any interruption."""

    def __init__(self, client: ExportClient, folder: ExportFolder, display: Display) -> None:
        self._client, self._folder, self._display = client, folder, display
        self._here = 0
        """Bytes of the parts that are whole."""

    def fetch(self, asked: Mapping[str, Any], trusted: PublicKey | None) -> Report:
        """The report on the complete export. Without `trusted` those keys are that the service names.

        Raises what client and folder raise, and `NotComplete`.
        """
        if "job" in asked and self._folder.finished() == asked["job"]:
            return self._check(self._folder.path.joinpath(MANIFEST).read_bytes(), trusted)
        memory = self._folder.memory(asked)
        job = self._begin(memory)
        self._folder.belongs_to(memory, job.id)
        self._follow(job)
        proof = {name: self._client.file(job.id, address) for name, address in _OWN.items()}
        # The manifest comes last: without it the folder is no export.
        for name in (README, SIGNATURE, MANIFEST):
            self._folder.write(name, proof[name])
        report = self._check(proof[MANIFEST], trusted)
        if report.export_id != job.id:
            raise NotUnderstood(f"the manifest is that of the export {report.export_id or 'of no id'}, not of {job.id}")
        if report.faults:
            # What is damaged here is fetched again by the next run.
            for fault in report.faults:
                if fault.part is not None:
                    self._folder.discard(fault.file)
        else:
            self._folder.complete()
        return report

    def _begin(self, memory: Memory) -> Job:
        if not memory.export_id:
            return self._client.create(memory.asked, memory.key)
        job = self._client.job(memory.export_id)
        if job.state == "failed" and "job" not in memory.asked:
            self._client.note(f"the export {job.id} had failed ({_reason(job)}); it is tried again")
            return self._client.retry(job.id)
        return job

    def _follow(self, job: Job) -> None:
        """Fetches each part as soon as it is ready, until there are no more."""
        pause = _SHORTEST_S
        while True:
            self._here = 0
            for part in job.parts:
                if not self._folder.has(part.file, part.bytes):
                    self._fetch(job, part)
                self._here += part.bytes
            self._show(job, 0)
            if job.ended:
                break
            self._client.wait(pause)
            before, job = job, self._client.job(job.id)
            pause = min(pause * 2, _LONGEST_S) if job == before else _SHORTEST_S
        if job.state == "failed":
            raise NotComplete(f"the export {job.id} failed: {_reason(job)}. The same command has it tried again")
        if job.state == "cancelled":
            raise NotComplete(f"the export {job.id} was cancelled")

    def _fetch(self, job: Job, part: RemotePart) -> None:
        patience = Patience(self._client.note, self._client.wait)
        damaged = 0
        with self._folder.partial(part.file) as here:
            while here.size != part.bytes or here.sha256 != part.sha256:
                if here.size >= part.bytes:
                    damaged += here.size > 0
                    if damaged == _DAMAGED_TRIES:
                        raise NotUnderstood(f"part {part.number} came with another SHA-256 than announced, each time")
                    here.restart()
                try:
                    self._receive(job, part, here, patience)
                except (ServiceProblem, Unreachable) as error:
                    patience.after(error)
            here.finish()

    def _receive(self, job: Job, part: RemotePart, here: Partial, patience: Patience) -> None:
        with self._client.part(job.id, part, here.size) as (begins, pieces):
            if begins != here.size:
                here.restart()
            for piece in pieces:
                here.add(piece)
                patience.progressed()
                self._show(job, here.size)
                if here.size >= part.bytes:
                    return
        if here.size < part.bytes:
            raise Unreachable(f"part {part.number} broke off after {here.size} of {part.bytes} bytes")

    def _show(self, job: Job, further: int) -> None:
        self._display.made(job.rows_done, job.rows_total)
        self._display.fetched(self._here + further, sum(part.bytes for part in job.parts))

    def _check(self, manifest: bytes, trusted: PublicKey | None) -> Report:
        if trusted is None:
            trusted = self._service_key(manifest)
        return check(self._folder.path, trusted, own=frozenset((*_OWN, STATE)))

    def _service_key(self, manifest: bytes) -> PublicKey | None:
        """The key that the manifest names, as the service gives it; None leaves it to the check what is wrong."""
        try:
            wanted = read(manifest).signing_key.key_id
        except Refused:
            return None
        keys = self._client.keys()
        if wanted not in keys:
            raise NotUnderstood(f"the manifest is signed with the key {wanted}, which the service does not name")
        return public_key(keys[wanted])


def _reason(job: Job) -> str:
    return f"{job.error.type}, {job.error.detail}" if job.error else "no reason is known"


__all__ = ["Display", "Fetching", "NotComplete"]
