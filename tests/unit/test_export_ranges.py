"""Which bytes of a part a request gets (RFC 9110 §13 and §14)."""

from __future__ import annotations

import pytest

from audit_query.exports.ranges import Unsatisfiable, Wanted, wanted

TAG = '"abc"'
WHOLE = Wanted(0, 100, partial=False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("bytes=0-9", Wanted(0, 10, partial=True)),
        ("bytes=90-", Wanted(90, 10, partial=True)),
        ("bytes=-10", Wanted(90, 10, partial=True)),
        ("bytes=-1000", Wanted(0, 100, partial=True)),
        ("bytes=50-1000", Wanted(50, 50, partial=True)),
        ("Bytes=99-99", Wanted(99, 1, partial=True)),
        ("bytes= 0-0 ", Wanted(0, 1, partial=True)),
    ],
)
def test_one_range_is_answered(given: str, expected: Wanted) -> None:
    """Open at either end, and cut at the end of the file."""
    assert wanted({"range": given}, TAG, 100) == expected


@pytest.mark.parametrize(
    "given",
    ["", "bytes=0-9,20-29", "bytes=9-0", "bytes=-", "bytes=a-b", "lines=0-9", "bytes 0-9", "bytes=0-9-", "bytes=٠-٩"],
)
def test_what_is_no_single_range_gets_the_whole_file(given: str) -> None:
    """As the specification allows."""
    try:
        assert wanted({"range": given}, TAG, 100) == WHOLE
    except Unsatisfiable:
        pytest.fail("was taken for a range")


@pytest.mark.parametrize("given", ["bytes=100-", "bytes=100-200", "bytes=-0", f"bytes={10**14}-"])
def test_a_range_behind_the_end_can_not_be_satisfied(given: str) -> None:
    """The caller is told so."""
    with pytest.raises(Unsatisfiable):
        wanted({"range": given}, TAG, 100)


@pytest.mark.parametrize(
    ("condition", "partial"),
    [(TAG, True), ('"other"', False), (f"W/{TAG}", False), ("Sat, 14 Mar 2026 12:00:00 GMT", False)],
)
def test_a_range_of_another_version_gets_the_whole_file(condition: str, partial: bool) -> None:
    """`If-Range` compares strongly, and there are no dates here."""
    found = wanted({"range": "bytes=0-9", "if-range": condition}, TAG, 100)
    assert found is not None
    assert found.partial is partial


@pytest.mark.parametrize(
    ("given", "has_it"),
    [(TAG, True), (f"W/{TAG}", True), (f'"x", {TAG}', True), ("*", True), ('"x"', False), ("", False)],
)
def test_who_has_the_file_gets_nothing(given: str, has_it: bool) -> None:
    """`If-None-Match` compares weakly, and comes before the range."""
    headers = {"if-none-match": given, "range": "bytes=0-9"}
    assert (wanted(headers, TAG, 100) is None) is has_it
