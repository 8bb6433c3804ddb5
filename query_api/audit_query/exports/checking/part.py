"""Reads one part: hashes of the file and of its content, rows, first and last key. Bounded by what the manifest says."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from audit_query.exports.checking import parquet
from audit_query.exports.checking.manifest import Output, Part
from audit_query.exports.checking.records import Malformed, Place, Records, csv_names, csv_place, json_place

PIECE = 1024 * 1024
Progress = Callable[[int], None]
"""Told how many further bytes of files were read."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a file holds. `wrong` says what is not as in the manifest; `keys` whether the first and last row had keys."""

    sha256: str
    content_sha256: str
    wrong: tuple[str, ...]
    keys: bool


def sha256(file: BinaryIO, progress: Progress) -> str:
    """The hash of an open file."""
    found = hashlib.sha256()
    for piece in _pieces(file, progress):
        found.update(piece)
    return found.hexdigest()


def read(file: BinaryIO, part: Part, output: Output, progress: Progress, *, ended: bool = True) -> Read:
    """Reads an open file to its end, in pieces. No more than `content_bytes` of its content are looked at.

    Unless it has `ended` it may break off anywhere, and its rows are not looked at.
    """
    file_hash, content_hash = hashlib.sha256(), hashlib.sha256()
    records = Records(quotes=output.format == "csv") if output.format != "parquet" else None
    unpacked, wrong = 0, ""
    unpacker = _Gunzip() if output.compression == "gzip" else None
    for piece in _pieces(file, progress):
        file_hash.update(piece)
        if wrong:
            continue
        try:
            for content in unpacker.pieces(piece) if unpacker else (piece,):
                unpacked += len(content)
                if unpacked > part.content_bytes:
                    raise Malformed(f"its content has more than the {part.content_bytes} bytes of the manifest")
                content_hash.update(content)
                if records:
                    records.feed(content)
        except Malformed as error:
            wrong = str(error)
    if not wrong and unpacker and not unpacker.ended:
        wrong = "its gzip data are cut"
    if not wrong and unpacked < part.content_bytes:
        wrong = f"its content has {unpacked} bytes, not {part.content_bytes}"
    if wrong:
        return Read(file_hash.hexdigest(), "", (wrong,), keys=False)
    faults: list[str] = []
    if content_hash.hexdigest() != part.content_sha256:
        faults.append(f"the SHA-256 of its content is {content_hash.hexdigest()}, not {part.content_sha256}")
    keys = False
    try:
        if not ended:
            pass  # it breaks off in the middle of a row
        elif records is None:
            found = parquet.rows(file)
            faults += _count(found, part)
        else:
            keys = _compare(records, part, output, faults)
    except Malformed as error:
        faults.append(str(error))
    return Read(file_hash.hexdigest(), content_hash.hexdigest(), tuple(faults), keys)


def _count(found: int, part: Part) -> list[str]:
    return [f"it has {found} rows, not {part.rows}"] if found != part.rows else []


def _compare(records: Records, part: Part, output: Output, faults: list[str]) -> bool:
    """Adds what is wrong with number and ends of the rows; whether the rows told their keys. Raises `Malformed`."""
    csv = output.format == "csv"
    headers = int(csv and output.dialect is not None and output.dialect.header)
    records.require_end(b"\r\n" if csv else b"\n")
    if records.count < headers:
        raise Malformed("it has no header")
    faults += _count(records.count - headers, part)
    first = records.first(headers + 1)
    place: Place | None = json_place
    if csv:
        names = csv_names(first[0]) if headers else []
        if headers and len(names) != len(output.columns):
            faults.append(f"its header has {len(names)} cells, the manifest {len(output.columns)} columns")
        place = csv_place(names)
    if records.count == headers or place is None:
        return place is not None
    ends = [place(first[headers]), place(records.last())]
    if None in ends:
        return False
    for name, found, said in zip(("first", "last"), ends, (part.first, part.last), strict=True):
        if said is not None and found != said.order:
            faults.append(f"its {name} row is not the one that the manifest names")
    return part.first is not None


def _pieces(file: BinaryIO, progress: Progress) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(PIECE):
        progress(len(piece))
        yield piece


class _Gunzip:
    """Unpacks gzip in pieces of bounded size. Raises `Malformed` for anything else, also behind the end."""

    def __init__(self) -> None:
        self._member = self._new()
        self.ended = False
        """Whether what came so far is complete."""

    def pieces(self, packed: bytes) -> Iterator[bytes]:
        """The content of the next bytes of the file."""
        while packed:
            if self._member.eof:  # several members are one content (RFC 1952)
                self._member = self._new()
            try:
                content = self._member.decompress(packed, PIECE)
            except zlib.error:
                behind = self.ended
                raise Malformed("it has bytes behind its end" if behind else "its gzip data are damaged") from None
            if content:
                yield content
            packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            self.ended = self._member.eof

    def _new(self) -> zlib._Decompress:
        return zlib.decompressobj(wbits=31)


__all__ = ["Progress", "Read", "read", "sha256"]
