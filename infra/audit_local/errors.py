"""What can go wrong on one machine, in words for the person at the terminal."""

from __future__ import annotations


class LocalStackError(Exception):
    """The local stack cannot start or go on; the text says what to do and is shown without a stack trace."""


class NotReadyError(LocalStackError):
    """A process ended, or its time ran out, before it answered."""
