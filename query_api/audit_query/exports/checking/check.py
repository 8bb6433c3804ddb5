"""Checks a pack: signature, manifest, and every part. All faults are found, not only the first; memory is flat.

What protects what: the signature covers the manifest's exact bytes, the manifest the SHA-256 of each file. The rest
(sizes, rows, keys, sums) tells what was done to a file, and finds a service that signed what is not so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from audit_query.exports.checking import order
from audit_query.exports.checking.folder import Folder, Missing, Unreadable, Unusable, size
from audit_query.exports.checking.manifest import MOST_BYTES, Manifest, Part, Refused
from audit_query.exports.checking.manifest import read as read_manifest
from audit_query.exports.checking.part import Progress, read, sha256
from audit_query.exports.checking.report import Fault, Kind, Report
from audit_query.exports.checking.signature import LENGTH, PublicKey, public_key, signed_by
from audit_query.exports.readme import readme

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
README = "README.txt"
_OWN = frozenset((MANIFEST, SIGNATURE, README))
_MOST_README = 1024 * 1024
_MOST_ADDED = 100
"""Files beyond the manifest that are named one by one."""


def _silent(_: int) -> None:
    """Nobody watches."""


def check(path: Path, trusted: PublicKey | None, progress: Progress = _silent, own: frozenset[str] = _OWN) -> Report:
    """What is to be said of the pack in a folder. `own` are the names that need no part of the manifest.

    Reads every file once. Raises `Unusable` when there is no folder or no manifest to check.
    """
    folder = Folder(path)
    if MANIFEST not in folder.names:
        raise Unusable(f"{path}: there is no {MANIFEST}, so this is no export")
    faults: list[Fault] = []
    document = _document(folder, faults)
    if document is None:
        return Report(tuple(faults))
    manifest = _manifest(document, faults)
    _signature(folder, document, manifest, trusted, faults)
    if manifest is None:
        return Report(tuple(faults))
    faults += order.faults(manifest, MANIFEST, _OWN)
    checked = _Parts(folder, manifest, progress)
    faults += checked.faults()
    if not any(one.kind == "signature" for one in faults):
        faults += _readme(folder, document)
    faults += _added(folder, {part.file for part in manifest.parts} | own)
    return Report(
        tuple(faults),
        export_id=manifest.export_id,
        workspace_id=manifest.workspace_id,
        outcome=manifest.outcome,
        parts=len(manifest.parts),
        rows=manifest.totals.rows,
        bytes=manifest.totals.bytes,
        key_id=manifest.signing_key.key_id,
        signer_verified=trusted is not None and not any(one.kind == "signature" for one in faults),
        notes=tuple(_notes(checked)),
    )


def _document(folder: Folder, faults: list[Fault]) -> bytes | None:
    try:
        return folder.read(MANIFEST, MOST_BYTES)
    except (Missing, Unreadable) as error:
        faults.append(Fault(MANIFEST, None, "manifest", str(error)))
        return None


def _manifest(document: bytes, faults: list[Fault]) -> Manifest | None:
    try:
        return read_manifest(document)
    except Refused as error:
        faults += [Fault(MANIFEST, None, "manifest", one) for one in error.faults]
        return None


def _signature(
    folder: Folder, document: bytes, manifest: Manifest | None, trusted: PublicKey | None, faults: list[Fault]
) -> None:
    def fault(reason: str, file: str = SIGNATURE) -> None:
        faults.append(Fault(file, None, "signature", reason))

    try:
        signature = folder.read(SIGNATURE, LENGTH)
    except Missing:
        return fault("is missing")
    except Unreadable as error:
        return fault(str(error))
    named = None
    if manifest is not None:
        try:
            named = public_key(manifest.signing_key.public_key_pem.encode())
        except (Unusable, UnicodeEncodeError):
            fault("signing_key.public_key_pem is not an Ed25519 key", MANIFEST)
    by_named = named is not None and signed_by(named, signature, document)
    if trusted is None:
        if named is not None and not by_named:
            fault("does not belong to this manifest: one of the two was changed")
    elif not signed_by(trusted, signature, document):
        fault("was made with another key than the trusted one" if by_named else "does not belong to this manifest")
    elif named is not None and not by_named:
        fault("names another key than the one it is signed with", MANIFEST)
    return None


class _Parts:
    """Checks the files of the parts one after the other."""

    def __init__(self, folder: Folder, manifest: Manifest, progress: Progress) -> None:
        self._folder, self._manifest, self._progress = folder, manifest, progress
        self._by_hash = {part.sha256: part for part in reversed(manifest.parts)}
        self._sizes = {part.bytes for part in manifest.parts}
        self.without_keys = False
        """Whether there are rows that do not tell their keys."""

    def faults(self) -> Iterator[Fault]:
        """Everything that is wrong with files."""
        seen: set[str] = set()
        for part in self._manifest.parts:
            if part.file not in seen:  # that a name is there twice is told elsewhere
                seen.add(part.file)
                yield from self._part(part)

    def _part(self, part: Part) -> Iterator[Fault]:
        def fault(kind: Kind, reason: str) -> Fault:
            return Fault(part.file, part.number, kind, reason)

        try:
            with self._folder.open(part.file) as file:
                length = size(file)
                if length != part.bytes:
                    # A file of another part's size may be that part; any other is not read, however long it is.
                    other = self._other(sha256(file, self._progress), part) if length in self._sizes else None
                    lengths = f"it has {length} bytes, not {part.bytes}"
                    if other:
                        yield fault("swapped", f"is swapped: it holds what belongs into part {other.number}")
                    else:
                        cut = length < part.bytes
                        yield fault("cut" if cut else "extended", f"is {'cut' if cut else 'too long'}: {lengths}")
                    return
                ended = self._manifest.outcome != "aborted"
                found = read(file, part, self._manifest.output, self._progress, ended=ended)
        except Missing:
            yield fault("missing", "is missing")
        except Unreadable as error:
            yield fault("unreadable", str(error))
        except OSError as error:
            yield fault("unreadable", f"can't be read: {error.strerror}")
        else:
            self.without_keys |= not found.keys
            if found.sha256 == part.sha256:
                for reason in found.wrong:
                    yield fault("content", reason)
            elif other := self._other(found.sha256, part):
                yield fault("swapped", f"is swapped: it holds what belongs into part {other.number}")
            else:
                same = "; its content is unchanged" if found.content_sha256 == part.content_sha256 else ""
                yield fault("edited", f"is edited: its SHA-256 is {found.sha256}, not {part.sha256}{same}")

    def _other(self, digest: str, part: Part) -> Part | None:
        found = self._by_hash.get(digest)
        return found if found is not None and found.sha256 != part.sha256 else None


def _added(folder: Folder, known: set[str]) -> Iterator[Fault]:
    added = sorted(folder.names - known)
    for name in added[:_MOST_ADDED]:
        yield Fault(name, None, "added", "was added: the manifest does not name it")
    if len(added) > _MOST_ADDED:
        yield Fault("…", None, "added", f"{len(added) - _MOST_ADDED} more files were added")


def _readme(folder: Folder, document: bytes) -> Iterator[Fault]:
    """No hash of it is signed, but its text follows from the manifest."""
    expected = readme(document).encode(errors="replace")
    try:
        if folder.read(README, _MOST_README) != expected:
            yield Fault(README, None, "edited", "is edited: it is not the text that belongs to this manifest")
    except Missing:
        return  # the files of a stream have none
    except Unreadable as error:
        yield Fault(README, None, "unreadable", str(error))


def _notes(checked: _Parts) -> Iterator[str]:
    if checked.without_keys:
        yield "First and last rows were not compared with the manifest: it or the files do not show their keys as text."


__all__ = ["MANIFEST", "README", "SIGNATURE", "check"]
