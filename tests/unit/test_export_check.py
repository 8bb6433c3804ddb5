"""A pack that was changed in any way is found, with the part and the reason; one that was not is intact."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from audit_query.exports.checking import Report, Unusable, Verdict, check, public_key
from tests.support.packs import HEADER, Pack, content, pem, rows

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
TRUSTED = public_key(pem(KEY))
FORMATS = ("csv", "ndjson", "parquet")
PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
ELLIPTIC = (
    ec.derive_private_key(7, ec.SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
)


def found(pack: Pack) -> list[tuple[int | None, str]]:
    """Part and kind of each fault."""
    return [(one.part, one.kind) for one in check(pack.folder, TRUSTED).faults]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return Pack(tmp_path / "pack")


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("number", [0, 1, 7])
def test_an_untouched_pack_is_intact(tmp_path: Path, format_: str, number: int) -> None:
    """In each format, with no rows, one, and several parts; the trusted key decides whether the signer is known."""
    given = rows(number)
    made = Pack(tmp_path / "pack", format_, parts=[given[:3], given[3:6], given[6:]] if number == 7 else [given])
    report = check(made.folder, TRUSTED)
    assert (report.verdict, report.faults) == (Verdict.INTACT, ())
    assert (report.rows, report.parts, report.key_id) == (number, len(made.parts), "k1")
    assert (report.bytes, report.signer_verified) == (made.manifest["totals"]["bytes"], True)
    alone = check(made.folder, None)
    assert (alone.verdict, alone.faults, alone.signer_verified) == (Verdict.UNVERIFIED, (), False)


def test_every_tampering_is_named_with_part_and_reason(pack: Pack) -> None:
    """Edited, cut, extended, swapped, missing and added, one after the other on the same pack."""
    first, second, third = (pack.file(number) for number in (1, 2, 3))
    kept = {path: path.read_bytes() for path in (first, second, third)}

    def faults_of(*changes: Callable[[], object]) -> list[str]:
        for change in changes:
            change()
        told = [str(one) for one in check(pack.folder, TRUSTED).faults]
        for path, data in kept.items():
            path.write_bytes(data)
        return told

    edited = bytearray(kept[first])
    edited[-20] ^= 1
    assert faults_of(lambda: first.write_bytes(edited))[0].startswith(f"part 1 ({first.name}): is edited: its SHA-256")
    size = len(kept[second])
    cut = f"part 2 ({second.name}): is cut: it has {size - 1} bytes, not {size}"
    assert faults_of(lambda: second.write_bytes(kept[second][:-1])) == [cut]
    longer = f"part 2 ({second.name}): is too long: it has {size + 1} bytes, not {size}"
    assert faults_of(lambda: second.write_bytes(kept[second] + b"\0")) == [longer]
    swapped = [
        f"part 1 ({first.name}): is swapped: it holds what belongs into part 3",
        f"part 3 ({third.name}): is swapped: it holds what belongs into part 1",
    ]
    assert faults_of(lambda: first.write_bytes(kept[third]), lambda: third.write_bytes(kept[first])) == swapped
    assert faults_of(third.unlink) == [f"part 3 ({third.name}): is missing"]
    extra = pack.folder / "part-4.csv.gz"
    assert faults_of(lambda: extra.write_bytes(kept[third]), second.unlink) == [
        f"part 2 ({second.name}): is missing",
        "part-4.csv.gz: was added: the manifest does not name it",
    ]
    extra.unlink()
    assert found(pack) == []


def test_a_part_packed_anew_is_edited_and_its_content_said_to_be_unchanged(pack: Pack) -> None:
    """The file is not the one that was signed, but nothing that it says has changed."""
    plain = gzip.decompress(pack.file(1).read_bytes())
    at = pack.file(1)
    packed = bytearray(at.read_bytes())
    packed[4] ^= 1  # the time in the header of gzip
    at.write_bytes(packed)
    assert gzip.decompress(packed) == plain
    (fault,) = check(pack.folder, TRUSTED).faults
    assert fault.kind == "edited"
    assert fault.reason.endswith("; its content is unchanged")


def test_an_edited_manifest_or_signature_is_found_with_and_without_a_key(pack: Pack) -> None:
    """Also when the manifest is changed so that it fits a changed part, and when somebody else signs that."""
    manifest, signature = pack.folder / "manifest.json", pack.folder / "manifest.json.sig"
    document, signed = manifest.read_bytes(), signature.read_bytes()
    manifest.write_bytes(document.replace(b'"w1"', b'"w2"'))
    for key in (TRUSTED, None):
        assert [one.kind for one in check(pack.folder, key).faults] == ["signature"]
    manifest.write_bytes(document)
    for damaged in (bytes(64), signed[:63], signed + b"\n", b""):
        signature.write_bytes(damaged)
        for key in (TRUSTED, None):
            (fault,) = check(pack.folder, key).faults
            assert (fault.file, fault.kind) == ("manifest.json.sig", "signature"), damaged
    signature.unlink()
    assert [str(one) for one in check(pack.folder, None).faults] == ["manifest.json.sig: is missing"]


def test_only_the_trusted_key_makes_a_signer_known(pack: Pack) -> None:
    """Whoever signs anew with a key of their own is found with the key, and unknown without."""
    other = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
    pack.signer = other
    pack.manifest["signing_key"]["public_key_pem"] = pem(other).decode()
    pack.sign()
    (fault,) = check(pack.folder, TRUSTED).faults
    assert fault.reason == "was made with another key than the trusted one"
    report = check(pack.folder, None)
    assert (report.verdict, report.faults) == (Verdict.UNVERIFIED, ())
    pack.signer = KEY
    pack.sign()
    (fault,) = check(pack.folder, TRUSTED).faults
    assert str(fault) == "manifest.json: names another key than the one it is signed with"
    for nonsense in ("no PEM", "\ud800", pem(KEY).decode()[:40]):
        pack.manifest["signing_key"]["public_key_pem"] = nonsense
        pack.sign(json.dumps(pack.manifest).encode())
        assert [one.kind for one in check(pack.folder, None).faults] == ["signature"]


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=60, phases=(Phase.explicit, Phase.generate))
@given(data=st.data())
def test_any_flipped_bits_anywhere_are_found(format_: str, data: st.DataObject) -> None:
    """Any byte of the manifest, the signature, a part or the README, with the trusted key and without."""
    with tempfile.TemporaryDirectory() as folder:
        made = Pack(Path(folder), format_)
        path = data.draw(st.sampled_from(sorted(made.folder.iterdir())))
        changed = bytearray(path.read_bytes())
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(changed)
        for key in (TRUSTED, None):
            faults = check(made.folder, key).faults
            assert path.name in {one.file for one in faults} or path.name.startswith("manifest.json")
            assert faults


@settings(max_examples=60, phases=(Phase.explicit, Phase.generate))
@given(texts=st.lists(st.text(st.sampled_from('ab",\n\r\0é'), max_size=6), min_size=1, max_size=9), cut=st.data())
def test_rows_of_csv_are_counted_whatever_is_in_their_cells(texts: list[str], cut: st.DataObject) -> None:
    """Line ends and quotes in cells, in pieces of any size, against Python's own reader."""
    from audit_query.exports.checking.records import Records

    given = [(at, text, id_) for (at, _, id_), text in zip(rows(len(texts)), texts, strict=True)]
    plain = content("csv", given)
    records, at = Records(quotes=True), 0
    while at < len(plain):
        step = cut.draw(st.integers(1, len(plain) - at))
        records.feed(plain[at : at + step])
        at += step
    records.require_end(b"\r\n")
    assert records.count == len(texts) + 1
    head, first = records.first(2)
    assert head == content("csv", [])
    assert head + first == content("csv", given[:1])
    assert head + records.last() == content("csv", given[-1:])


def changed(pack: Pack, *path: str | int, to: Any) -> list[tuple[int | None, str]]:
    """The faults after the service itself has signed another value at this place of the manifest."""
    place: Any = pack.manifest
    for step in path[:-1]:
        place = place[step]
    before, place[path[-1]] = place[path[-1]], to
    pack.sign()
    faults = found(pack)
    place[path[-1]] = before
    pack.sign()
    return faults


def test_a_manifest_that_contradicts_its_parts_is_found_though_it_is_signed(pack: Pack) -> None:
    """Sums, numbers, keys, sizes and hashes, each against the other and against the files."""
    assert changed(pack, "totals", "rows", to=8) == [(None, "totals")]
    assert changed(pack, "totals", "bytes", to=8) == [(None, "totals")]
    assert changed(pack, "totals", "content_bytes", to=8) == [(None, "totals")]
    assert changed(pack, "totals", "parts", to=2) == [(None, "totals")]
    assert changed(pack, "parts", 0, "rows", to=2) == [(None, "totals"), (1, "content")]
    assert changed(pack, "parts", 1, "number", to=3) == [(3, "order")]
    assert changed(pack, "parts", 1, "content_sha256", to="0" * 64) == [(2, "content")]
    size = pack.manifest["parts"][1]["content_bytes"]
    assert changed(pack, "parts", 1, "content_bytes", to=size - 1) == [(None, "totals"), (2, "content")]
    assert changed(pack, "parts", 1, "content_bytes", to=size + 1) == [(None, "totals"), (2, "content")]
    assert changed(pack, "output", "order", to="asc") == [(1, "order"), (2, "order"), (2, "order"), (3, "order")]
    first = pack.manifest["parts"][0]["last"]
    assert changed(pack, "parts", 1, "first", to=first) == [(2, "order"), (2, "content")]
    last = pack.manifest["parts"][1]["last"] | {"event_id": rows(1)[0][2]}
    assert changed(pack, "parts", 1, "last", to=last) == [(2, "content")]
    assert changed(pack, "parts", 2, "last", to=None) == [(3, "order")]
    assert changed(pack, "output", "columns", to=["event_id"]) == [(1, "content"), (2, "content"), (3, "content")]
    assert changed(pack, "parts", 0, "file", to=pack.file(2).name) == [
        (2, "order"),
        (1, "swapped"),
        (None, "added"),
    ]
    assert changed(pack, "parts", 0, "file", to="manifest.json")[0] == (1, "order")
    assert changed(pack, "parts", to=[])[-1] == (None, "added")
    assert found(pack) == []


def test_parts_in_ascending_order_are_intact_too(tmp_path: Path) -> None:
    """Their keys rise from row to row and from part to part."""
    given = rows(7)[::-1]
    made = Pack(tmp_path / "pack", "ndjson", parts=[given[:3], given[3:]], order="asc")
    assert check(made.folder, TRUSTED).verdict is Verdict.INTACT
    assert changed(made, "output", "order", to="desc") == [(1, "order"), (2, "order"), (2, "order")]


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "aborted"])
def test_an_export_that_did_not_finish_is_never_called_intact(pack: Pack, outcome: str) -> None:
    """What is there is unchanged, but it is not everything."""
    pack.manifest["outcome"] = outcome
    pack.sign()
    report = check(pack.folder, TRUSTED)
    assert (report.verdict, report.faults, report.outcome) == (Verdict.INCOMPLETE, (), outcome)


def test_columns_without_keys_are_said_to_be_unchecked(tmp_path: Path) -> None:
    """A CSV without instant or id, and Parquet, show no keys; a header and the rows are counted all the same."""
    made = Pack(tmp_path / "pack", header=("Actor", "Targets", "Event ID"))
    report = check(made.folder, TRUSTED)
    assert report.verdict is Verdict.INTACT
    assert "First and last rows" in report.notes[-1]
    assert len(check(Pack(tmp_path / "full", header=HEADER).folder, TRUSTED).notes) == len(report.notes) - 1


def test_the_file_of_a_stream_is_checked_with_its_manifest(tmp_path: Path) -> None:
    """It has no README, no positions and no keys; one that broke off is checked as far as it came, in mid-row."""
    made = Pack(tmp_path / "pack", parts=[rows(5)])
    (made.folder / "README.txt").unlink()
    plain = content("csv", rows(5))
    made.manifest |= {"positions": []}
    made.manifest["output"]["compression"] = "none"
    made.manifest["parts"][0] |= {"first": None, "last": None}
    made.put(1, plain)
    (made.folder / "README.txt").unlink()
    assert check(made.folder, TRUSTED).verdict is Verdict.INTACT
    made.put(1, plain[:-20])
    assert [one.reason for one in check(made.folder, TRUSTED).faults] == ["its content ends in the middle of a row"]
    made.manifest["outcome"] = "aborted"
    made.manifest["parts"][0]["rows"] = None
    made.put(1, plain[:-20])
    report = check(made.folder, TRUSTED)
    assert (report.verdict, report.faults, report.rows) == (Verdict.INCOMPLETE, (), None)
    made.manifest["outcome"] = "done"
    made.sign()
    assert "does not tell how many rows" in str(check(made.folder, TRUSTED).faults[0])


def test_without_anything_to_check_the_reason_is_told(tmp_path: Path) -> None:
    """No folder, a file, an empty folder; keys that are not Ed25519."""
    (tmp_path / "file").write_text("")
    for name in ("none", "file", "."):
        with pytest.raises(Unusable, match=name if name != "." else "no manifest.json"):
            check(tmp_path / name, None)
    for text, why in ((b"hello", "not a public key"), (PRIVATE, "private"), (ELLIPTIC, "not an Ed25519 key")):
        with pytest.raises(Unusable, match=why):
            public_key(text)


def test_a_report_tells_machines_the_same(pack: Pack) -> None:
    """Verdict, what the manifest says, and each fault."""
    pack.file(2).unlink()
    report: Report = check(pack.folder, TRUSTED)
    told = report.as_json()
    assert told["verdict"] == "faulty"
    assert told["faults"] == [{"file": pack.file(2).name, "part": 2, "kind": "missing", "reason": "is missing"}]
    assert (told["rows"], told["parts"], told["outcome"], told["workspace_id"]) == (7, 3, "done", "w1")
