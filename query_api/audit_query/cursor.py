"""Where a page ends: signed, bound to the workspace and the filter, and silent about the plan. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from audit_infra.access import Signer
from audit_infra.http.problems import Fault, invalid

Direction = Literal["older", "newer", "from"]
"""`from` is the event itself and those older than it; the others leave it out."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The event a page is reached from, and the bounds that were resolved with the first page."""

    direction: Direction
    occurred_at: int
    event_id: str
    since: int | None
    until: int | None

    def text(self, signer: Signer, workspace_id: str, fingerprint: str) -> str:
        """The cursor as it stands in the URL."""
        body = [self.direction[0], self.occurred_at, self.event_id, self.since, self.until, workspace_id, fingerprint]
        return signer.sign(json.dumps(body, separators=(",", ":")).encode())


def read(text: str, signer: Signer, workspace_id: str, fingerprint: str) -> Cursor:
    """The cursor. Raises a 400 `ProblemError` for one that was not made here, or for another workspace or filter."""
    try:
        direction, occurred_at, event_id, since, until, workspace, filter_ = json.loads(signer.verify(text))
    except ValueError:
        raise invalid((Fault("cursor", "not_ours", "is not a cursor of this service"),)) from None
    if workspace != workspace_id or filter_ != fingerprint:
        raise invalid((Fault("cursor", "other_filter", "belongs to another filter; begin with the first page"),))
    return Cursor("older" if direction == "o" else "newer", occurred_at, event_id, since, until)


__all__ = ["Cursor", "Direction", "read"]
