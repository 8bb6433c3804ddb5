"""What can go wrong on one machine, in words for the person at the terminal."""

from __future__ import annotations

from audit_schemas.errors import AuditError


class LocalStackError(AuditError):
    """The local stack cannot start or go on; the text says what to do and is shown without a stack trace."""
