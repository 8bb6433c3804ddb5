"""Where the processes' output goes: prefixed lines on the terminal, and one small file per process."""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)
"""ANSI foreground colours that read on light and dark terminals, handed out in order of first use."""

BYTES_PER_FILE = 10 * 1024 * 1024


class LogLines:
    """Takes whole lines of named processes. Never raises: a full disk or a closed terminal must not stop the stack."""

    def __init__(self, folder: Path, terminal: TextIO, *, colour: bool, width: int = 10) -> None:
        self._folder = folder
        self._terminal: TextIO | None = terminal
        self._colour = colour
        self._width = width
        self._colours: dict[str, int] = {}
        self._files: dict[str, logging.Handler] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, line: str) -> None:
        """One line of `name`, without its line end."""
        self._to_file(name, line)
        self.say(f"{self._prefix(name)} {line}")

    def say(self, text: str) -> None:
        """Text for the person at the terminal alone."""
        if self._terminal is None:
            return
        try:
            print(text, file=self._terminal, flush=True)
        except (OSError, ValueError):  # the reader went away; the files go on
            self._terminal = None

    def close(self) -> None:
        for handler in self._files.values():
            handler.close()
        self._files.clear()

    def _prefix(self, name: str) -> str:
        text = f"{name:<{self._width}} │"
        if not self._colour:
            return text
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        return f"\x1b[{colour}m{text}\x1b[0m"

    def _to_file(self, name: str, line: str) -> None:
        handler = self._files.get(name)
        if handler is None:
            handler = RotatingFileHandler(
                self._folder / f"{name}.log", maxBytes=BYTES_PER_FILE, backupCount=1, encoding="utf-8", errors="replace"
            )
            handler.handleError = self._report_once  # type: ignore[method-assign]  # the documented hook
            self._files[name] = handler
        handler.emit(logging.makeLogRecord({"msg": line}))

    def _report_once(self, record: logging.LogRecord) -> None:
        self.say(f"a line could not be written to {self._folder}: {sys.exception()}")


__all__ = ["LogLines"]
