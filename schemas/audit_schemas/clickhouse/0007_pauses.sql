-- What operators last said about holding a partition; `paused` 0 lets it go on. By the topic's name, as operators name it
-- and as a recreated topic keeps it. `at` is the server's, so that of two operators the one who came later counts.
CREATE TABLE audit_pauses (
  kafka_topic String,
  kafka_partition Int32,
  paused UInt8,
  who String,
  why String,
  at DateTime64(6, 'UTC') DEFAULT now64(6)
) ENGINE = ReplacingMergeTree(at)
ORDER BY (kafka_topic, kafka_partition)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
