"""Whether the parts of a manifest fit each other: numbers, names, keys and sums. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from audit_query.exports.checking.manifest import Manifest
from audit_query.exports.checking.report import Fault

_SUMS = ("rows", "bytes", "content_bytes")


def faults(manifest: Manifest, document: str, reserved: frozenset[str]) -> Iterator[Fault]:
    """Everything in which the parts contradict each other. `document` is the manifest's own file name."""
    yield from _names(manifest, document, reserved)
    yield from _keys(manifest)
    totals = manifest.totals
    if totals.parts != len(manifest.parts):
        yield Fault(document, None, "totals", f"names {len(manifest.parts)} parts, but counts {totals.parts}")
    for name in _SUMS:
        values, said = [getattr(one, name) for one in manifest.parts], getattr(totals, name)
        found = None if None in values else sum(values)
        if found != said:
            yield Fault(document, None, "totals", f"its parts have {found} {name} in all, but it says {said}")


def _names(manifest: Manifest, document: str, reserved: frozenset[str]) -> Iterator[Fault]:
    seen = set(reserved)
    for place, part in enumerate(manifest.parts, 1):
        if part.number != place:
            yield Fault(part.file, part.number, "order", f"stands where part {place} belongs")
        if part.file in seen:
            yield Fault(part.file, part.number, "order", "the name is taken by another file of the manifest")
        seen.add(part.file)
    if manifest.outcome == "done" and not manifest.parts:
        yield Fault(document, None, "order", "names no part; an empty export has one")


def _keys(manifest: Manifest) -> Iterator[Fault]:
    ascending = manifest.output.order == "asc"
    before = None
    for part in manifest.parts:
        if part.rows is None and manifest.outcome != "aborted":
            yield Fault(part.file, part.number, "order", "does not tell how many rows it has")
        keyless = part.first is None or part.last is None
        if keyless != (part.rows == 0) and not (keyless and manifest.stream):
            yield Fault(part.file, part.number, "order", f"has {part.rows} rows, which does not fit its keys")
        if part.first is None or part.last is None:
            if part.rows == 0 and len(manifest.parts) > 1:
                yield Fault(part.file, part.number, "order", "is empty, but not the only part")
            continue
        first, last = part.first.order, part.last.order
        if (first != last and (first < last) != ascending) or (first == last) != (part.rows == 1):
            yield Fault(
                part.file, part.number, "order", "its first and last key do not fit order and number of its rows"
            )
        if before is not None and (first == before or (before < first) != ascending):
            yield Fault(part.file, part.number, "order", "does not begin behind the end of the part before")
        before = last


__all__ = ["faults"]
