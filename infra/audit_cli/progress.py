"""Bars on stderr for what takes long; nothing where no terminal watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@dataclass(slots=True)
class Bars:
    """Two bars of an export: rows made by the service, bytes that are here. Without `progress` nothing is shown."""

    progress: Progress | None = None
    _rows: TaskID | None = None
    _bytes: TaskID | None = None

    def made(self, rows: int, total: int | None) -> None:
        """So many rows are ready at the service."""
        if self.progress is not None:
            if self._rows is None:
                self._rows = self.progress.add_task("rows ready", total=None)
            self.progress.update(self._rows, completed=rows, total=total)

    def fetched(self, size: int, total: int) -> None:
        """So many bytes are here, of those that are ready."""
        if self.progress is not None:
            if self._bytes is None:
                self._bytes = self.progress.add_task("bytes here", total=None)
            self.progress.update(self._bytes, completed=size, total=total)


@contextmanager
def bars() -> Iterator[Bars]:
    """For an export that is fetched."""
    with _progress() as progress:
        yield Bars(progress)


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """One bar; call what is given with each further step."""
    with _progress() as progress:
        if progress is None:
            yield lambda _: None
        else:
            task = progress.add_task(what, total=total)
            yield lambda step: progress.update(task, advance=step)


@contextmanager
def _progress() -> Iterator[Progress | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress


__all__ = ["Bars", "bar", "bars"]
