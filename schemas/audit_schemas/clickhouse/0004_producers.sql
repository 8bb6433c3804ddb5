-- A quarantined event is stored, not lost: its row says which number of which producer instance it carries. Rows from
-- before have none.
ALTER TABLE audit_quarantine
  ADD COLUMN producer_service LowCardinality(String),
  ADD COLUMN producer_instance LowCardinality(String),
  ADD COLUMN producer_seq Int64;

ALTER TABLE audit_quarantine_view MODIFY QUERY
SELECT
  audit_ingest.kafka_topic AS kafka_topic,
  audit_ingest.kafka_topic_id AS kafka_topic_id,
  audit_ingest.kafka_partition AS kafka_partition,
  audit_ingest.kafka_offset AS kafka_offset,
  audit_ingest.kafka_timestamp AS kafka_timestamp,
  audit_ingest.kafka_schema_id AS kafka_schema_id,
  audit_ingest.reason AS reason,
  '' AS detail,
  audit_ingest.workspace_id AS workspace_id,
  audit_ingest.event_id AS event_id,
  audit_ingest.event_type AS event_type,
  toUInt8(0) AS has_raw,
  '' AS raw,
  audit_ingest.producer.service AS producer_service,
  audit_ingest.producer.instance AS producer_instance,
  audit_ingest.producer.seq AS producer_seq
FROM audit_ingest
WHERE audit_ingest.reason != '';

-- Which numbers of each producer instance are stored, as runs without a hole; `at` is when the first event of a run was
-- stored. A row holds everything stored before its `through`, so of two rows the later one holds the earlier one's. A
-- cache: emptied together with audit_gap_progress, both tables are made again from events and quarantine.
-- An instance has at most 100 000 runs. From `unwatched_from` on its numbers are not looked at; 0 when all are.
CREATE TABLE audit_producers (
  service String,
  instance String,
  runs Array(Tuple(first Int64, last Int64, at DateTime64(3, 'UTC'))) CODEC(ZSTD(1)),
  unwatched_from Int64,
  through DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(through)
ORDER BY (service, instance)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- How far that is done; the greatest value counts.
CREATE TABLE audit_gap_progress (
  through DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(through)
ORDER BY tuple()
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The holes between 0 and the highest number of each instance. `since` is when the first event behind the hole was
-- stored: it stays when a hole is split or shrinks.
CREATE VIEW audit_gaps AS
SELECT service, instance, first_seq, last_seq, last_seq - first_seq + 1 AS events, since
FROM (
  SELECT
    service,
    instance,
    hole.1 AS first_seq,
    hole.2 AS last_seq,
    min(hole.3) OVER (
      PARTITION BY service, instance ORDER BY hole.1 DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS since
  FROM (
    SELECT
      service,
      instance,
      arrayJoin(
        arrayMap((run, before) -> (before + 1, run.first - 1, run.at), runs, arrayPushFront(arrayPopBack(runs.last), toInt64(-1)))
      ) AS hole
    FROM audit_producers FINAL
    WHERE length(runs) > 1 OR runs[1].first > 0
  )
)
WHERE first_seq <= last_seq;
