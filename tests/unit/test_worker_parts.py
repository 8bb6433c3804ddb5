"""The worker's pure parts: positions, containers, intents, batches, feeds, plans, progress and linger."""

from __future__ import annotations

import io
import uuid
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_consumers.batch import FormingBatch, Limits
from audit_consumers.container import PositionEncoder, build, encode_long
from audit_consumers.feed import Feed, Past
from audit_consumers.intent import MAX_METADATA_BYTES, CommitMetadata, Excluded, Intent, longest_fitting
from audit_consumers.limits import BadRecordLimits, BadRecords
from audit_consumers.linger import MOST_S, Linger
from audit_consumers.ports import LANDED, Bounds, Committed, LedgerRow
from audit_consumers.positions import Log, Range, TopicPartition, contiguous_end, holes, merged, ranges_of
from audit_consumers.progress import Progress
from audit_consumers.resume import Plan, Stopped, plan
from audit_schemas.codec import encode, frame
from audit_schemas.errors import RegistryUnavailable
from audit_schemas.registry import StaticRegistry
from tests.builders import event
from tests.fakes import FakeRecord

LOG = Log("t.files", "A", 0)
SCHEMAS = StaticRegistry().schema
VALUE = frame(encode(event(event_id=str(uuid.uuid4()))))
offsets = st.integers(0, 2**40)
ranges = st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda pair: Range(pair[0], pair[0] + pair[1]))


def records(first: int, count: int, value: bytes | None = VALUE) -> list[FakeRecord]:
    return [FakeRecord(value, offset, 1_700_000_000_000 + offset // 3) for offset in range(first, first + count)]


@given(st.sets(st.integers(0, 200)))
def test_ranges_hold_exactly_their_offsets(found: set[int]) -> None:
    """As few as possible, and nothing else."""
    made = ranges_of(found)
    assert {offset for one in made for offset in range(one.first, one.last + 1)} == found
    assert merged(made) == made


@given(st.lists(ranges), ranges)
def test_holes_and_cover_are_complements(covered: list[Range], whole: Range) -> None:
    """Each offset of the whole is covered or in a hole, never both."""
    inside = {offset for one in covered for offset in range(one.first, one.last + 1)}
    missing = {offset for one in holes(covered, whole) for offset in range(one.first, one.last + 1)}
    assert missing == set(range(whole.first, whole.last + 1)) - inside
    end = contiguous_end(covered, whole.first)
    assert end not in inside
    assert set(range(whole.first, end)) <= inside


@given(st.integers(-(2**63), 2**63 - 1))
def test_longs_are_written_as_avro_wants_them(value: int) -> None:
    """Against fastavro."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, {"type": "long"}, value)
    assert encode_long(value) == out.getvalue()


@given(
    st.integers(0, 2**40), st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 10**6)), min_size=1, max_size=50)
)
def test_a_container_carries_every_position(first: int, steps: list[tuple[int, int]]) -> None:
    """Whatever the distance between offsets and times; the datums come out as they went in."""
    at, stamp, wanted, pieces = first, 1_600_000_000_000, [], []
    encoder = PositionEncoder(LOG, 1)
    for step, wait in steps:
        at, stamp = at + step + 1, stamp + wait
        wanted.append((at, stamp))
        pieces += [encoder(at, stamp), VALUE[5:]]
    body = build(SCHEMAS(1), len(wanted), pieces)
    rows: list[dict[str, Any]] = list(fastavro.reader(io.BytesIO(body)))  # type: ignore[arg-type]  # records, as built
    assert [(row["kafka_offset"], int(row["kafka_timestamp"].timestamp() * 1000)) for row in rows] == wanted
    assert {(row["kafka_topic"], row["kafka_topic_id"], row["kafka_partition"]) for row in rows} == {
        ("t.files", "A", 0)
    }
    assert {row["event_type"] for row in rows} == {"file.downloaded"}


@given(
    offsets,
    st.integers(0, 5000),
    st.dictionaries(st.integers(0, 5000), st.sampled_from(["framing", "oversized", "tombstone"])),
    st.integers(0, 2**41),
)
def test_an_intent_survives_the_commit(first: int, length: int, excluded: dict[int, str], at_ms: int) -> None:
    """What is read back is what was written; text of others says nothing."""
    reasons = {first + offset: reason for offset, reason in excluded.items() if offset <= length}
    intent = Intent(Range(first, first + length), Excluded(reasons), "ab" * 16, at_ms)
    assert CommitMetadata.from_text(CommitMetadata("topic", intent).text()) == CommitMetadata("topic", intent)
    for foreign in ("", "{}", "[]", "v1|5", '{"v":2,"t":"x"}', '{"v":1}', "null"):
        assert CommitMetadata.from_text(foreign) == CommitMetadata()


@given(st.integers(0, 2**40), st.sets(st.integers(0, 9999), max_size=3000))
def test_a_batch_is_cut_until_its_intent_fits(first: int, excluded: set[int]) -> None:
    """The broker takes 4 096 bytes; one record always fits."""
    reasons = {first + offset: "oversized" for offset in excluded}
    fitting = longest_fitting("topic-id", Range(first, first + 9999), reasons)
    inside = Excluded({offset: why for offset, why in reasons.items() if offset in fitting})
    text = CommitMetadata("topic-id", Intent(fitting, inside, "0" * 32, 1)).text()
    assert len(text.encode()) <= MAX_METADATA_BYTES
    assert fitting.first == first


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.sets(st.integers(0, 60)), st.integers(1, 7))
def test_sealing_again_gives_the_same_bytes(steps: list[int], bad: set[int], chunk: int) -> None:
    """However the records arrived: the same hash, the same exclusions, and gaps and rows tile the range."""
    taken, at = [], 0
    for step in steps:
        at += step
        taken.append(FakeRecord(b"\1bad" if at in bad else VALUE, at, at))
    whole = FormingBatch(LOG, 0, SCHEMAS)
    whole.add(taken)
    parts = FormingBatch(LOG, 0, SCHEMAS)
    for begin in range(0, len(taken), chunk):
        parts.add(taken[begin : begin + chunk])
    one, other = whole.seal(), parts.seal()
    assert (one.hash, one.excluded, one.gaps, one.offsets) == (other.hash, other.excluded, other.gaps, other.offsets)
    assert sum(map(len, one.gaps)) + one.rows == len(one.offsets)
    assert set(one.excluded.reasons) == bad & {record.at for record in taken}


def test_records_that_cannot_be_events_are_excluded_with_their_reason() -> None:
    """By framing and size alone, and the last datum by reading it."""
    values = [
        None,
        b"",
        b"\0\0\0\0\1",
        b"\1\0\0\0\1H",
        b"\0\0\0\0\7Hxxxxx",
        b"\0\0\0\0\1Z",
        b"\0" * 70_000,
        VALUE + b"x",
    ]
    forming = FormingBatch(LOG, 0, SCHEMAS)
    forming.add([FakeRecord(value, offset, 1) for offset, value in enumerate(values)])
    reasons = [
        "tombstone",
        "framing",
        "framing",
        "framing",
        "unknown_schema",
        "undecodable",
        "oversized",
        "undecodable",
    ]
    assert dict(forming.seal().excluded.reasons) == dict(enumerate(reasons))


def test_an_unreachable_registry_excludes_nothing() -> None:
    """The records wait, and go on where they stopped."""
    known = {1}

    def schemas(schema_id: int) -> dict[str, Any]:
        if schema_id not in known:
            raise RegistryUnavailable("no answer")
        return SCHEMAS(1)

    feed = Feed(Plan(LOG, 1, 0), schemas, Limits(rows=100))
    other = b"\0\0\0\0\2" + VALUE[5:]
    with pytest.raises(RegistryUnavailable):
        feed.add([*records(0, 3), FakeRecord(other, 3, 1), *records(4, 2)], 0.0)
    assert (feed.next_offset, len(feed.behind)) == (3, 3)
    known.add(2)
    feed.add((), 1.0)
    assert feed.waited(10.0) == 10.0
    feed.seal()
    assert feed.waited(11.0) == 0.0
    assert feed.sealed[0].batch.offsets == Range(0, 5)
    assert [container.schema_id for container in feed.sealed[0].batch.containers] == [1, 2]


def test_an_open_intent_is_made_again_byte_for_byte() -> None:
    """The first batch ends exactly where the intent does, with its exclusions; what follows has no past."""
    earlier = FormingBatch(LOG, 5, SCHEMAS, {6: "undecodable"})
    earlier.add(records(5, 4))
    sealed = earlier.seal()
    intent = Intent(sealed.offsets, sealed.excluded, sealed.hash, 1)
    feed = Feed(Plan(LOG, 1, 5, intent=intent), SCHEMAS, Limits(rows=3))
    feed.add(records(5, 10), 0.0)
    feed.seal()
    first, second = feed.sealed
    assert (first.batch.hash, first.past) == (sealed.hash, Past.SAME_BYTES)
    assert (second.batch.offsets, second.past) == (Range(9, 14), Past.NONE)


def test_an_intent_whose_bytes_changed_is_looked_up() -> None:
    """Other bytes under its token would lose rows."""
    intent = Intent(Range(0, 3), Excluded(), "another hash", 1)
    feed = Feed(Plan(LOG, 1, 0, intent=intent), SCHEMAS, Limits())
    feed.add(records(0, 6), 0.0)
    assert feed.sealed[0].past is Past.UNKNOWN


@given(st.lists(ranges, max_size=5), st.integers(0, 40), st.integers(1, 9))
def test_a_feed_reads_every_offset_that_is_not_covered_once(covered: list[Range], doubt: int, chunk: int) -> None:
    """Whatever was landed before: batches and the covered ranges tile the log, doubt is kept apart."""
    start = contiguous_end(covered, 0)
    known = tuple(one for one in merged(covered) if one.first > start)
    feed = Feed(Plan(LOG, 1, start, known, doubt_until=max(doubt, start)), SCHEMAS, Limits(rows=7))
    at = start
    while at < 100:
        jump = feed.add(records(at, min(chunk, 100 - at)), 0.0)
        at = at + chunk if jump is None else jump
    feed.seal()
    batches = [one.batch.offsets for one in feed.sealed]
    assert sorted([*batches, *known, *([Range(0, start - 1)] if start else [])])[-1].last >= 99
    assert list(holes([*batches, *known], Range(start, 99))) == []
    assert sum(map(len, merged([*batches, *known]))) == sum(map(len, [*batches, *known])), "nothing is read twice"
    for one in feed.sealed:
        assert (one.past is Past.UNKNOWN) == (one.batch.offsets.first < doubt)
        assert not (one.batch.offsets.first < max(doubt, start) <= one.batch.offsets.last)


def landed(*parts: Range) -> list[LedgerRow]:
    return [LedgerRow(LOG, part, LANDED) for part in parts]


@pytest.mark.parametrize(
    ("committed", "ledger", "highest", "bounds", "start", "doubt"),
    [
        pytest.param(Committed(None, CommitMetadata()), [], None, Bounds(4, 9), 4, 4, id="nothing known"),
        pytest.param(Committed(7, CommitMetadata("A")), landed(Range(0, 6)), None, Bounds(0, 9), 7, 7, id="commit"),
        pytest.param(Committed(0, CommitMetadata()), landed(Range(0, 6)), None, Bounds(0, 9), 7, 7, id="group reset"),
        pytest.param(
            Committed(None, CommitMetadata()), landed(Range(0, 6)), None, Bounds(0, 9), 7, 7, id="commit lost"
        ),
        pytest.param(Committed(3, CommitMetadata("A")), landed(Range(0, 2)), 6, Bounds(0, 9), 3, 7, id="rows beyond"),
        pytest.param(Committed(90, CommitMetadata("old")), [], None, Bounds(0, 9), 0, 0, id="another topic's commit"),
        pytest.param(
            Committed(3, CommitMetadata("A")), landed(Range(3, 5)), None, Bounds(0, 9), 6, 6, id="ledger ahead"
        ),
    ],
)
def test_where_to_go_on(
    committed: Committed, ledger: list[LedgerRow], highest: int | None, bounds: Bounds, start: int, doubt: int
) -> None:
    """From commit, ledger and tables."""
    found = plan(LOG, 1, committed, ledger, highest, bounds)
    assert isinstance(found, Plan)
    assert (found.start, found.doubt_until) == (start, doubt)


def test_what_kafka_lost_stops_the_partition() -> None:
    """The range is named; an accepted loss lets it go on."""
    committed = Committed(5, CommitMetadata("A"))
    begun_later = plan(LOG, 1, committed, [], None, Bounds(8, 20))
    assert isinstance(begun_later, Stopped)
    assert begun_later.missing == Range(5, 7)
    ends_before = plan(LOG, 1, committed, [], None, Bounds(0, 3))
    assert isinstance(ends_before, Stopped)
    assert ends_before.missing == Range(3, 4)
    accepted = plan(LOG, 1, committed, [LedgerRow(LOG, Range(5, 7), "lost")], None, Bounds(8, 20))
    assert isinstance(accepted, Plan)
    assert accepted.start == 8


def test_an_intent_is_used_only_where_it_begins() -> None:
    """Reached from elsewhere its rows are found by looking; landed already it is forgotten."""
    intent = Intent(Range(5, 9), Excluded(), "h", 1)
    committed = Committed(5, CommitMetadata("A", intent))
    used = plan(LOG, 1, committed, [], None, Bounds(0, 20))
    assert isinstance(used, Plan)
    assert used.intent == intent
    done = plan(LOG, 1, committed, landed(Range(5, 9)), None, Bounds(0, 20))
    assert isinstance(done, Plan)
    assert (done.start, done.intent) == (10, None)
    partly = plan(LOG, 1, committed, landed(Range(5, 6)), None, Bounds(0, 20))
    assert isinstance(partly, Plan)
    assert (partly.start, partly.intent, partly.doubt_until) == (7, None, 10)


def test_progress_never_claims_too_much() -> None:
    """By the last landed record, or by an end of the log that the ledger has reached; never backwards."""
    progress = Progress(margin_ms=100)
    progress.landed(10_000)
    assert progress.complete_through_ms == 9_900
    progress.idle(clock_before_ms=20_000, end=8, ledgered_end=7)
    assert progress.complete_through_ms == 9_900
    progress.idle(clock_before_ms=20_000, end=7, ledgered_end=7)
    assert progress.complete_through_ms == 19_900
    progress.landed(15_000)
    assert progress.complete_through_ms == 19_900
    assert not progress.arrived(19_900)
    assert progress.arrived(19_000)
    assert progress.margin_ms >= 1000


def test_the_linger_grows_with_the_cost_of_small_inserts() -> None:
    """Half a core at most, between the flush setting and fifteen seconds; idle partitions don't count."""
    linger = Linger(0.25)
    assert linger.seconds(0.0) == 0.25
    for number in range(16):
        linger.saw(TopicPartition("t", number), 0.0)
    assert linger.seconds(1.0) == pytest.approx(16 * 0.03 / 0.5)
    for number in range(100):
        linger.inserted(10, 5.0 if number % 3 else 0.05)  # most wait for others
        linger.inserted(50_000, 1.0)
    assert linger.seconds(1.0) == pytest.approx(16 * 0.05 / 0.5)
    for _ in range(100):
        linger.inserted(10, 2.0)
    assert linger.seconds(1.0) == MOST_S
    assert linger.seconds(100.0) == 0.25


def test_bad_records_are_an_alarm_by_share_and_by_run() -> None:
    """A few are life, many are a broken producer."""
    limits = BadRecordLimits(share=0.5, window=100, run=30)
    few = BadRecords(limits)
    for _ in range(50):
        few.add(10, 2)
    assert few.exceeded == ""
    share = BadRecords(limits)
    for _ in range(20):
        share.add(10, 6)
    assert "of the last" in share.exceeded
    run = BadRecords(limits)
    for _ in range(3):
        run.add(10, 10)
    assert "in a row" in run.exceeded
