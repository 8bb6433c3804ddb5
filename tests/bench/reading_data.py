"""Ten million events in the largest of 200 workspaces, made by the engine itself and taken in as the worker's are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from clickhouse_connect.driver.client import Client

from audit_schemas.catalogue import load

WORKSPACES, ACTORS, MONTHS = 200, 20_000, 13
LARGEST, RARE_ACTOR, RARE_TYPE = "ws_001", "cli_rare", "contract.declined"
RARE = 22
"""Events of the rare actor, and of the rare type."""
BATCH = 500_000
_SPAN = timedelta(days=395)
_COLUMNS = (
    "kafka_topic, kafka_topic_id, kafka_partition, kafka_offset, kafka_timestamp, kafka_schema_id, event_id,"
    " workspace_id, category, event_type, label, occurred_at, received_at, actor, on_behalf_of, source, ip, user_agent,"
    " targets, outcome, outcome_reason, changes, metadata, request_id, session_id, app_id, producer"
)
# `u_…` are numbers from 0 to 1 that depend on the event's number and the seed alone. Powers of them make few actors and
# types frequent. Events come in order of time, as in life, so that each insert falls into one month or two.
_SELECT = """
WITH
  cityHash64(number, {seed:UInt64}) AS hash,
  cityHash64(hash, 1) / pow(2, 64) AS u_workspace,
  cityHash64(hash, 2) / pow(2, 64) AS u_actor,
  cityHash64(hash, 3) / pow(2, 64) AS u_type,
  number % {rare_step:UInt64} = 7 AND number < {rare_step:UInt64} * {rare:UInt64} AS by_rare_actor,
  number % {rare_step:UInt64} = 11 AND number < {rare_step:UInt64} * {rare:UInt64} AS of_rare_type,
  if(by_rare_actor OR of_rare_type, 1, arrayFirstIndex(x -> x > u_workspace, {shares:Array(Float64)})) AS workspace,
  toUInt32(pow(u_actor, 3) * if(workspace = 1, {actors:UInt32}, 200)) AS actor_number,
  if(actor_number % 10 < 3, 'internal_user', 'client') AS actor_type,
  concat(if(actor_type = 'client', 'cli_', 'usr_'), leftPad(toString(actor_number), 5, '0')) AS actor_id,
  if(of_rare_type, 1, 2 + toUInt32(pow(u_type, 2) * (length({names:Array(String)}) - 1))) AS type,
  {categories:Array(String)}[type] AS category,
  fromUnixTimestamp64Micro({begin:Int64} + toInt64(number * {step:Float64}) + toInt64(hash % 600000000), 'UTC') AS at,
  ['plan', 'invoice', 'offer', 'report', 'contract', 'photo', 'scan', 'letter', 'draft', 'signed'] AS words,
  words[1 + hash % 10] AS word
SELECT
  concat({prefix:String}, '.', category),
  concat('bulk-', category),
  workspace % 8,
  number,
  toDateTime64(at, 3, 'UTC') + toIntervalMillisecond(200),
  1,
  toString(reinterpretAsUUID(MD5(concat(toString(number), '-', toString({seed:UInt64}))))),
  concat('ws_', leftPad(toString(workspace), 3, '0')),
  category,
  {names:Array(String)}[type],
  '',
  at,
  toDateTime64(0, 6, 'UTC'),
  if(by_rare_actor, ('client', {rare_actor:String}, 'Rare Visitor', 'rare@example.com'),
    (actor_type, actor_id, concat('Person ', toString(actor_number)), concat(actor_id, '@example.com'))),
  ('', '', ''),
  ['web', 'web', 'web', 'api', 'automation'][1 + hash % 5],
  concat('10.', toString(actor_number % 200), '.', toString(intDiv(hash, 7) % 40), '.', toString(1 + actor_number % 250)),
  concat('Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/',
    toString(110 + actor_number % 32), '.0.0.0 Safari/537.36'),
  [({targets:Array(String)}[type], concat('t_', lower(hex(intDiv(hash, 11) % 1000000))), concat(word, '.pdf'))],
  if(hash % 50 = 0, 'failure', 'success'),
  '',
  '[]',
  concat('{"folder":"/', word, '","order":"A-', toString(intDiv(hash, 13) % 100000), '","size":',
    toString(hash % 10000000), '}'),
  concat('req_', lower(hex(hash))),
  concat('ses_', lower(hex(cityHash64(actor_number, intDiv(number, 5000))))),
  '',
  ('files', concat('bulk', toString(workspace % 8)), '1', number)
FROM numbers({first:UInt64}, {count:UInt64})
SETTINGS max_insert_threads = 1, max_block_size = 65536, min_insert_block_size_rows = 500000,
  min_insert_block_size_bytes = 0
"""


@dataclass(frozen=True)
class Loaded:
    """What is in the tables. Times in seconds; `parts` are those of events after merging came to rest."""

    rows: int
    rows_of_the_largest: int
    load_seconds: float
    rows_per_second: float
    settle_seconds: float
    parts: int
    bytes_per_row: float


def load_events(client: Client, prefix: str, largest: int, skew: float, *, seed: int = 20_260_314) -> Loaded:
    """Fills the empty tables: `largest` events in the first workspace, the others as Zipf's law with `skew` has it."""
    weights = [(number + 1) ** -skew for number in range(WORKSPACES)]
    total = int(largest * sum(weights))
    native = [one for one in load() if not one.name.startswith("audit_log.") and one.name != RARE_TYPE]
    types = [next(one for one in load() if one.name == RARE_TYPE), *native]
    begin = datetime.now(UTC) - _SPAN
    parameters = {
        "seed": seed,
        "rare": RARE,
        "rare_step": total // RARE,
        "rare_actor": RARE_ACTOR,
        "actors": ACTORS,
        "shares": [share / sum(weights) for share in accumulate(weights)],
        "names": [one.name for one in types],
        "categories": [one.category for one in types],
        "targets": [one.targets[0] if one.targets else "item" for one in types],
        "prefix": prefix,
        "begin": int(begin.timestamp() * 1e6),
        # Ends an hour ago: what a test ingests now is newer than everything here.
        "step": (_SPAN - timedelta(hours=1)) / timedelta(microseconds=1) / total,
    }
    begun = time.monotonic()
    for first in range(0, total, BATCH):
        further = {"first": first, "count": min(BATCH, total - first)}
        client.command(f"INSERT INTO audit_ingest ({_COLUMNS}) {_SELECT}", parameters=parameters | further)
    loaded = time.monotonic()
    settled = _settle(client)
    rows, mine = client.query(
        "SELECT count(), countIf(workspace_id = {w:String}) FROM audit_events", parameters={"w": LARGEST}
    ).result_rows[0]
    refused = client.query("SELECT count(), any(reason) FROM audit_quarantine").result_rows[0]
    assert refused[0] == 0, refused
    parts, size = client.query(
        "SELECT countIf(table = 'audit_events'), sum(bytes_on_disk) FROM system.parts"
        " WHERE active AND database = currentDatabase()"
    ).result_rows[0]
    return Loaded(rows, mine, loaded - begun, rows / (loaded - begun), settled - loaded, parts, size / rows)


def _settle(client: Client, most_seconds: float = 300) -> float:
    """Until nothing merges any more: what is measured is reading, not what loading left behind."""
    deadline = time.monotonic() + most_seconds
    while time.monotonic() < deadline and client.command("SELECT count() FROM system.merges"):
        time.sleep(1)
    return time.monotonic()


__all__ = ["ACTORS", "LARGEST", "RARE", "RARE_ACTOR", "RARE_TYPE", "Loaded", "load_events"]
