-- One row per landed, lost or skipped range of offsets. A `landed` row is written only after its events and quarantine
-- rows were there, so it implies them; the rows of one topic id and partition tile its offsets.
CREATE TABLE audit_ledger (
  kafka_topic LowCardinality(String),
  kafka_topic_id LowCardinality(String),
  kafka_partition Int32,
  first Int64,
  last Int64,
  kind LowCardinality(String),
  excluded String,
  gaps Array(Tuple(Int64, Int64)),
  rows_events Int64,
  rows_quarantine Int64,
  hash String,
  highest_append DateTime64(3, 'UTC'),
  written_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree
ORDER BY (kafka_topic_id, kafka_partition, first, last)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- How far each partition is complete: every record appended strictly before `complete_through` is stored. Readers take
-- the greatest value per partition and need all `partition_count` partitions of the topic's current id.
CREATE TABLE audit_progress (
  kafka_topic LowCardinality(String),
  kafka_topic_id LowCardinality(String),
  kafka_partition Int32,
  partition_count Int32,
  complete_through DateTime64(3, 'UTC'),
  end_offset Int64,
  at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(complete_through)
ORDER BY (kafka_topic, kafka_topic_id, kafka_partition);
