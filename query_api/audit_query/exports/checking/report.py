"""What a check found: every fault with its file, part and reason, and the verdict that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

Kind = Literal[
    "missing",  # a file of the manifest is not there
    "added",  # a file is there that the manifest does not name
    "cut",  # the file has fewer bytes
    "extended",  # the file has more bytes
    "edited",  # as many bytes, but others
    "swapped",  # the bytes are those of another part
    "unreadable",  # no regular file, or it can't be read
    "content",  # the file is the one that was hashed, but not what the manifest says about its content
    "order",  # parts overlap, are out of order, or are not numbered 1, 2, 3
    "totals",  # the sums of the manifest are not those of its parts
    "manifest",  # the manifest is no manifest
    "signature",  # the signature does not belong to manifest and key
]


class Verdict(StrEnum):
    """What can be said of a pack as a whole."""

    INTACT = "intact"
    """Complete and unchanged, and signed by the trusted key."""
    UNVERIFIED = "intact, signer not verified"
    """Complete and unchanged since somebody signed it; without a trusted key nobody knows who."""
    INCOMPLETE = "intact, but the export did not finish"
    """Unchanged, but the export failed, was cancelled or broken off: events are missing, and the manifest says so."""
    FAULTY = "not intact"
    """Something was changed; the faults name it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `file` is a name in the folder, `part` the number that the manifest gives it."""

    file: str
    part: int | None
    kind: Kind
    reason: str

    def __str__(self) -> str:
        part = f"part {self.part} ({self.file})" if self.part is not None else self.file
        return f"{part}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check. The fields below `faults` are what the manifest says, empty where it can't be read."""

    faults: tuple[Fault, ...]
    export_id: str = ""
    workspace_id: str = ""
    outcome: str = ""
    parts: int = 0
    rows: int | None = 0
    bytes: int = 0
    key_id: str = ""
    signer_verified: bool = False
    notes: tuple[str, ...] = ()
    """What could not be checked, each in a sentence."""

    @property
    def verdict(self) -> Verdict:
        """The worst that is true."""
        if self.faults:
            return Verdict.FAULTY
        if self.outcome != "done":
            return Verdict.INCOMPLETE
        return Verdict.INTACT if self.signer_verified else Verdict.UNVERIFIED

    def as_json(self) -> dict[str, Any]:
        """For machines; within a version of the manifest keys are only added."""
        return {
            "verdict": self.verdict.name.lower(),
            "signer_verified": self.signer_verified,
            "key_id": self.key_id,
            "export_id": self.export_id,
            "workspace_id": self.workspace_id,
            "outcome": self.outcome,
            "parts": self.parts,
            "rows": self.rows,
            "bytes": self.bytes,
            "faults": [
                {"file": one.file, "part": one.part, "kind": one.kind, "reason": one.reason} for one in self.faults
            ],
            "notes": list(self.notes),
        }


__all__ = ["Fault", "Kind", "Report", "Verdict"]
