"""Keeps what streamed exports were and how they ended, so that a worker can sign their manifests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from audit_infra.access import Access
from audit_query.exports.job import Asked, Attempt, Export, Fixed, Part, Versions, requester_of
from audit_query.exports.recording import Ended, Stream
from audit_query.exports.store import ExportStore


class KeptStreams:
    """A `Recorder` in the control database. `versions` tells what the bytes are made with; it is asked once."""

    def __init__(self, store: ExportStore, access: Access, versions: Callable[[], Awaitable[Versions]]) -> None:
        self._store, self._access, self._ask = store, access, versions
        self._versions: Versions | None = None

    async def begun(self, stream: Stream) -> None:
        """See `Recorder`."""
        if self._versions is None:
            self._versions = await self._ask()
        workspace = await asyncio.to_thread(self._access.get_workspace, stream.principal.workspace_id)
        await asyncio.to_thread(self._store.begin_stream, _export(stream, workspace.plan, self._versions))

    async def ended(self, stream: Stream, ended: Ended) -> None:
        """See `Recorder`."""
        part = Part(
            number=1,
            stored="",
            rows=ended.rows,
            bytes=ended.bytes,
            content_bytes=ended.bytes,
            sha256=ended.sha256,
            content_sha256=ended.sha256,
            collapsed=0,
            guarded=0,
            first=None,
            last=None,
            next=None,
        )
        attempt = Attempt(1, _cut(stream.started_at), _cut(ended.finished_at), ended.outcome)
        await asyncio.to_thread(
            self._store.end_stream, stream.export_id, part, attempt, ended.outcome, _cut(ended.finished_at)
        )


def _export(stream: Stream, plan: str, versions: Versions) -> Export:
    sent: dict[str, list[str]] = {}
    for name, value in stream.params:
        sent.setdefault(name, []).append(value)
    asked = Asked(
        requester=requester_of(stream.principal),
        plan=plan,
        pii=stream.pii,
        form=stream.form,
        sent=tuple((name, tuple(values)) for name, values in sent.items()),
        filter=stream.filter,
        file=stream.file,
    )
    at = _cut(stream.started_at)
    fixed = Fixed((), stream.complete_through, versions, None, None, None, None)
    workspace = stream.principal.workspace_id
    found = Export(stream.export_id, workspace, "stream", "running", asked, at, started_at=at, fixed=fixed)
    return replace(found, attempts=(Attempt(1, at),))


def _cut(at: datetime) -> datetime:
    """As the tables have instants: in milliseconds."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


__all__ = ["KeptStreams"]
