"""Makes one part: cuts it, has ClickHouse write it, and puts the file in its place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

from audit_query.budgets import Budget
from audit_query.exports import cuts, rows
from audit_query.exports.files import Files, PartFile, Written, stored_name
from audit_query.exports.job import Export, Fixed, Part
from audit_query.ports import Reading
from audit_query.sql import Query
from audit_schemas.catalogue import Catalogue
from audit_schemas.errors import Transient

_PIECE: Final = 1_048_576
"""Bytes that are packed, hashed and written at once, on a thread."""


class Incomplete(Transient):
    """ClickHouse gave other rows than it counted. The part is made anew."""


class Maker:
    """Makes parts, one at a time for each export. `part_rows` is how many events a part holds at most."""

    def __init__(self, reader: Reading, files: Files, catalogue: Catalogue, budget: Budget, part_rows: int) -> None:
        self._reader, self._files, self._catalogue = reader, files, catalogue
        self._budget, self._part_rows = budget, part_rows

    async def make(self, export: Export, fixed: Fixed, generation: int) -> Part:
        """The part behind those that there are; its file is in place and durable.

        Raises `OSError` of the disk, and what reading raises; nothing of the file is left then.
        """
        asked, number = export.asked, len(export.parts) + 1
        first = export.parts[-1].next if export.parts else None
        rest = cuts.piece(asked.form, first, None, fixed.positions)
        query = cuts.cut(export.workspace_id, asked.filter, asked.form, rest, self._part_rows)
        last, following = cuts.ends(await self._reader.rows(self._within(query)))
        part = cuts.piece(asked.form, first, last, fixed.positions)
        arguments = (export.workspace_id, asked.filter, self._catalogue, asked.form)
        counted = rows.summary(*arguments, pii=asked.pii, part=part)
        (found,) = await self._reader.rows(self._within(counted))
        summary = rows.Summary.of(found, asked.form)
        stored = stored_name(number, generation, asked.form.format)
        content = self._reader.stream(rows.query(*arguments, pii=asked.pii, part=part))
        written = await self._write(export, stored, content)
        if written.rows not in (None, summary.rows):
            raise Incomplete(f"part {number} was counted to hold {summary.rows} rows, and has {written.rows}")
        return Part(
            number=number,
            stored=stored,
            rows=summary.rows,
            bytes=written.bytes,
            content_bytes=written.content_bytes,
            sha256=written.sha256,
            content_sha256=written.content_sha256,
            collapsed=summary.collapsed,
            guarded=summary.guarded,
            first=summary.first,
            last=summary.last,
            next=following,
        )

    async def _write(self, export: Export, stored: str, content: AsyncGenerator[bytes]) -> Written:
        form = export.asked.form
        file = await asyncio.to_thread(PartFile, self._files.folder(export.id), stored, form.format)
        writing: asyncio.Task[None] | None = None
        try:
            async with contextlib.aclosing(content):
                async for piece in _pieces(rows.head(replace(form, bom=False)), content):
                    # The next bytes are read while these are written.
                    if writing is not None:
                        await writing
                    writing = asyncio.create_task(asyncio.to_thread(file.add, piece))
            if writing is not None:
                await writing
            return await asyncio.to_thread(file.finish)
        finally:
            if writing is not None:
                await asyncio.wait([writing])
            await asyncio.to_thread(file.discard)

    def _within(self, query: Query) -> Query:
        return replace(query, budget=self._budget)


async def _pieces(head: bytes, content: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The same bytes in pieces that are worth a thread; the head is there even when nothing follows."""
    held, size = [head], len(head)
    async for chunk in content:
        held.append(chunk)
        size += len(chunk)
        if size >= _PIECE:
            yield b"".join(held)
            held, size = [], 0
    if size:
        yield b"".join(held)


__all__ = ["Maker"]
