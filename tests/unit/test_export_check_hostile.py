"""A pack made to harm whoever checks it: paths, links, pipes, bombs, endless manifests, JSON that readers disagree about."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from audit_query.exports.checking import Report, Verdict, check, public_key, safe_name
from audit_query.exports.checking.records import LONGEST
from tests.support.packs import HEADER, Pack, content, pem, rows

if TYPE_CHECKING:
    from pathlib import Path


def report(pack: Pack) -> Report:
    return check(pack.folder, public_key(pem(pack.signer)))


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return Pack(tmp_path / "pack")


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b",
        "a\\b",
        ".hidden",
        "a\0b",
        "a\nb",
        "n" * 256,
        "\u202egpj.exe",
        "~x",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_and_not_opened(pack: Pack, name: str) -> None:
    """The manifest is no manifest then; the file it points to is not looked at, but that the name is wrong is told."""
    with pytest.raises(ValueError, match="plain file name"):
        safe_name(name)
    pack.manifest["parts"][1]["file"] = name
    pack.sign()
    (fault,) = report(pack).faults
    assert fault.kind == "manifest"
    assert fault.reason.startswith("parts[1].file: ")


def test_links_pipes_and_folders_in_place_of_files_are_faults(pack: Pack, tmp_path: Path) -> None:
    """A link to the very same bytes is refused too; nothing waits for a pipe."""
    for number in (1, 2, 3):
        pack.file(number).rename(tmp_path / f"kept-{number}")
    pack.file(1).symlink_to(tmp_path / "kept-1")
    os.mkfifo(pack.file(2))
    pack.file(3).mkdir()
    assert [(one.part, one.reason) for one in report(pack).faults] == [
        (1, "is a symbolic link"),
        (2, "is not a regular file"),
        (3, "is not a regular file"),
    ]
    for name in ("manifest.json", "manifest.json.sig"):
        (pack.folder / name).rename(tmp_path / name)
        (pack.folder / name).symlink_to(tmp_path / name)
    assert [(one.file, one.reason) for one in report(pack).faults] == [("manifest.json", "is a symbolic link")]
    (pack.folder / "manifest.json").unlink()
    (tmp_path / "manifest.json").rename(pack.folder / "manifest.json")
    assert ("manifest.json.sig", "is a symbolic link") in [(one.file, one.reason) for one in report(pack).faults]
    pack = Pack(tmp_path / "other")
    (pack.folder / "README.txt").unlink()
    (pack.folder / "README.txt").symlink_to(pack.folder / "manifest.json")
    assert [str(one) for one in report(pack).faults] == ["README.txt: is a symbolic link"]


def test_a_manifest_of_ten_gigabytes_is_not_read(pack: Pack) -> None:
    """It is refused by its size."""
    with (pack.folder / "manifest.json").open("r+b") as file:
        file.truncate(10 * 1024**3)
    assert [str(one) for one in report(pack).faults] == ["manifest.json: has more than 16777216 bytes"]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b'{"format_version": 1, "format_version": 1}', "the name 'format_version' occurs twice"),
        (b'{"format_version": 1, "a": {"b": 1, "b": 2}}', "the name 'b' occurs twice"),
        (b'{"format_version": 1, "a": NaN}', "NaN is not a number of JSON"),
        (b'{"format_version": 1, "a": -Infinity}', "-Infinity is not a number of JSON"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b'{"format_version": 1, "a": "\xff"}', "is not UTF-8"),
        (b'\xef\xbb\xbf{"format_version": 1}', "is not JSON"),
        (b'{"format_version": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b"", "is not JSON"),
        (b'{"format_version": 1} {}', "is not JSON"),
        (b'{"format_version": 2}', "has the format version 2; this software knows 1"),
        (b"{}", "has the format version None"),
        (b"[]", "the document: "),
        (b"null", "the document: "),
        (b'{"format_version": 1, "parts": [' + b"0," * 500_000 + b"0]}", "parts[0]: "),
    ],
)
def test_what_is_not_strictly_json_is_no_manifest(pack: Pack, document: bytes, why: str) -> None:
    """Readers of JSON disagree about such documents, or break; a signature does not make them better."""
    pack.sign(document or b" ")
    faults = report(pack).faults
    assert {(one.file, one.kind) for one in faults} == {("manifest.json", "manifest")}
    assert any(why in one.reason for one in faults)
    assert len(faults) < 20


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("parts", 0, "rows"), True),
        (("parts", 0, "rows"), -1),
        (("parts", 0, "rows"), 3.0),
        (("parts", 0, "bytes"), 2**63),
        (("parts", 0, "sha256"), "A" * 64),
        (("parts", 0, "sha256"), "a" * 64 + "\n"),
        (("parts", 0, "first", "occurred_at"), "2026-03-14T12:00:00+01:00"),
        (("parts", 0, "first", "occurred_at"), "2026-13-14T12:00:00Z"),
        (("parts", 0, "first", "event_id"), "7"),
        (("parts", 0), None),
        (("parts",), {}),
        (("output", "format"), "xml"),
        (("output", "compression"), "zip"),
        (("outcome",), "fine"),
        (("signing_key", "algorithm"), "none"),
        (("export_id",), 7),
    ],
)
def test_each_wrong_value_is_named_by_its_place(pack: Pack, path: tuple[str | int, ...], value: Any) -> None:
    """Nothing is taken for what it is not, and all of it is told at once."""
    place: Any = pack.manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    pack.manifest["workspace_id"] = None
    pack.sign()
    reasons = [one.reason for one in report(pack).faults if one.kind == "manifest"]
    named = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path).lstrip(".")
    assert len(reasons) == 2
    assert any(one.startswith("workspace_id: ") for one in reasons)
    assert any(one.startswith((f"{named}: ", f"{named.rpartition('.')[0]}: ")) for one in reasons)


def test_a_bomb_is_unpacked_only_as_far_as_the_manifest_allows(pack: Pack) -> None:
    """128 MB in 130 kB: memory stays flat, and nothing beyond `content_bytes` is looked at."""
    bomb = gzip.compress(bytes(2**27), 9, mtime=0)
    pack.put(1, bomb, b"\0" * 100)
    tracemalloc.start()
    try:
        faults = report(pack).faults
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (1, "content", "its content has more than the 100 bytes of the manifest") in [
        (one.part, one.kind, one.reason) for one in faults
    ]
    assert peak < 30_000_000


def test_what_is_no_gzip_or_has_more_behind_it_is_named(pack: Pack) -> None:
    """Though the file is exactly what was signed."""
    plain = content("csv", rows(3))
    packed = gzip.compress(plain, mtime=0)

    def reasons(data: bytes, said: bytes = plain) -> list[str]:
        pack.put(1, data, said)
        return [one.reason for one in report(pack).faults if one.part == 1]

    assert reasons(packed) == []
    assert reasons(packed + b"hello") == ["it has bytes behind its end"]
    assert reasons(packed[:-1]) == ["its gzip data are cut"]
    assert reasons(packed[:-20]) == ["its gzip data are cut"]
    assert reasons(plain) == ["its gzip data are damaged"]
    assert reasons(b"") == ["its gzip data are cut"]
    half = len(plain) // 2
    assert reasons(gzip.compress(plain[:half]) + gzip.compress(plain[half:])) == []
    assert reasons(packed, plain + b"x") == [f"its content has {len(plain)} bytes, not {len(plain) + 1}"]


@pytest.mark.parametrize(
    ("format_", "data", "why"),
    [
        ("csv", b"", "it has no header"),
        ("csv", b"\xff,\xfe\r\n1,2\r\n1,2\r\n1,2\r\n", "a row is not CSV"),
        ("csv", content("csv", rows(3))[:-2], "ends in the middle of a row"),
        ("csv", content("csv", rows(3)) + b'"', "ends in the middle of a row"),
        ("csv", content("csv", rows(3)).replace(b"\r\n", b"\n"), "ends in the middle of a row"),
        ("csv", b"Timestamp (UTC),Event ID\r\nnoon,1\r\nnoon,1\r\nnoon,1\r\n", "no instant or no event id"),
        ("csv", b"Timestamp (UTC),Event ID\r\n1,2,3\r\n1,2\r\n1,2\r\n", "a row has 3 cells, the header 2"),
        ("csv", b'A,"' + b"x" * LONGEST + b'"\r\n1,2\r\n1,2\r\n1,2\r\n', "a row is longer than"),
        ("csv", b'A,"' + b"\n" * LONGEST + b'"\r\n1,2\r\n1,2\r\n1,2\r\n', "a row is longer than"),
        ("csv", content("csv", rows(3)) + b'1,"' + b"\n" * LONGEST + b'",2\r\n', "a row is longer than"),
        ("ndjson", b"{}\n{}\n[]\n", "a row is not a JSON object"),
        ("ndjson", b"{}\n{}\n" + b"[" * 100_000 + b"\n", "a row is not JSON"),
        ("ndjson", b'{"a":1}\n\n{"a":1,"a":1}\n', "a row is not JSON"),
        ("ndjson", b'{"occurred_at":1,"event_id":[]}\n{}\n{}\n', "no instant or no event id"),
        ("parquet", b"PAR1PAR1", "too short"),
        ("parquet", bytes(100), "no Parquet footer"),
        ("parquet", bytes(100) + b"\xff\xff\xff\x7fPAR1", "no Parquet footer"),
        ("parquet", bytes(100) + b"\x20\0\0\0PAR1", "its Parquet footer can't be read"),
        ("parquet", bytes(50) + b"\x9c" * 100 + b"\x64\0\0\0PAR1", "its Parquet footer can't be read"),
        ("parquet", bytes(50) + b"\x19\xfc\xff\xff\xff\xff\x0f" * 10 + b"\x46\0\0\0PAR1", "footer can't be read"),
    ],
)
def test_content_that_is_not_of_its_format_is_named(tmp_path: Path, format_: str, data: bytes, why: str) -> None:
    """Whatever a service signs, the reason is told, and nothing breaks or takes for ever."""
    made = Pack(tmp_path / "pack", format_)
    made.put(1, data if format_ == "parquet" else gzip.compress(data, mtime=0), data)
    reasons = [one.reason for one in report(made).faults if one.part == 1]
    assert any(why in one for one in reasons), reasons


def test_wrong_counts_and_keys_in_files_are_named(tmp_path: Path) -> None:
    """In each format a row too few; where rows show their keys, the wrong first and last row."""
    for format_ in ("csv", "ndjson", "parquet"):
        made = Pack(tmp_path / format_, format_)
        data = content(format_, rows(9)[2:4])
        made.put(1, data if format_ == "parquet" else gzip.compress(data, mtime=0), data)
        reasons = [one.reason for one in report(made).faults]
        keys = [f"its {end} row is not the one that the manifest names" for end in ("first", "last")]
        assert reasons == ["it has 2 rows, not 3", *(keys if format_ != "parquet" else [])]


def test_thousands_of_added_files_are_counted_not_listed(pack: Pack) -> None:
    """The first hundred are named."""
    for number in range(150):
        (pack.folder / f"x{number}").touch()
    faults = report(pack).faults
    assert len(faults) == 101
    assert str(faults[-1]) == "…: 50 more files were added"


def test_memory_is_flat_for_a_part_of_any_size(tmp_path: Path) -> None:
    """A part of 100 MB is read in pieces; a header of names and a byte-order mark before it are read too."""
    made = Pack(tmp_path / "pack", parts=[rows(1)], header=("timestamp_utc", "targets", "event_id"))
    at, _, id_ = rows(1)[0]
    line = f'{at},"{"x" * 10_000}",{id_}\r\n'.encode()
    plain = b"\xef\xbb\xbf" + content("csv", [], made.header) + line * 10_000
    made.manifest["parts"][0]["rows"] = 10_000
    made.put(1, gzip.compress(plain, 1, mtime=0), plain)
    tracemalloc.start()
    try:
        faults = report(made).faults
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # All rows are the same here, so that first and last key don't fit their number; else there is nothing to find.
    assert [one.kind for one in faults] == ["order"]
    assert peak < 20_000_000
    assert report(Pack(tmp_path / "other", header=HEADER)).verdict is Verdict.INTACT
