-- The wire contract: what one insert of the worker carries. Stores nothing; the views below sort its rows.
-- Text stays plain String and positions signed, as Avro has them, so that nothing wraps and nothing is refused here
-- that a view could send to quarantine.
CREATE TABLE audit_ingest (
  kafka_topic String,
  kafka_topic_id String,
  kafka_partition Int32,
  kafka_offset Int64,
  kafka_timestamp DateTime64(3, 'UTC'),
  kafka_schema_id Int32,
  event_id String,
  workspace_id String,
  category String,
  event_type String,
  label String,
  occurred_at DateTime64(6, 'UTC'),
  received_at DateTime64(6, 'UTC'),
  actor Tuple(type String, id String, name String, email String),
  on_behalf_of Tuple(type String, id String, name String),
  source String,
  ip String,
  user_agent String,
  targets Array(Tuple(type String, id String, name String)),
  outcome String,
  outcome_reason String,
  changes String,
  metadata String,
  request_id String,
  session_id String,
  app_id String,
  producer Tuple(service String, instance String, version String, seq Int64),
  ip_stored IPv6 MATERIALIZED toIPv6OrDefault(ip),
  -- Empty for a good row, else why it belongs in quarantine. Decided by the row and its Kafka position alone, never by
  -- the clock, so that a replay decides the same. An address of ::/96 is taken in any spelling: the engine and
  -- RFC 5952 disagree on its canonical one.
  reason String MATERIALIZED multiIf(
    workspace_id = '', 'empty_workspace_id',
    event_type = '', 'empty_event_type',
    NOT endsWith(kafka_topic, concat('.', category)) OR category = '', 'category_unlike_topic',
    event_id != toString(toUUIDOrZero(event_id)) OR event_id = '00000000-0000-0000-0000-000000000000', 'event_id_not_canonical',
    toUnixTimestamp64Micro(occurred_at) > toUnixTimestamp64Milli(kafka_timestamp) * 1000 + 86400000000
      OR toUnixTimestamp64Micro(occurred_at) < toUnixTimestamp64Milli(kafka_timestamp) * 1000 - 315576000000000
      OR toUnixTimestamp64Micro(occurred_at) < 0, 'occurred_at_out_of_range',
    toUnixTimestamp64Micro(received_at) < 0
      OR toUnixTimestamp64Micro(received_at) > toUnixTimestamp64Milli(kafka_timestamp) * 1000 + 86400000000, 'received_at_out_of_range',
    ip != '' AND ip != replaceRegexpOne(IPv6NumToString(ip_stored), '^::ffff:([0-9.]+)$', '\\1')
      AND (startsWith(IPv6NumToString(ip_stored), '::ffff:') OR bitShiftRight(toUInt128(ip_stored), 32) != 0 OR toUInt128(ip_stored) = 0),
      'ip_not_canonical',
    NOT isValidUTF8(concatWithSeparator('\n',
      workspace_id, event_type, label, actor.type, actor.id, actor.name, actor.email, on_behalf_of.type, on_behalf_of.id,
      on_behalf_of.name, source, user_agent, arrayStringConcat(targets.type, '\n'), arrayStringConcat(targets.id, '\n'),
      arrayStringConcat(targets.name, '\n'), outcome, outcome_reason, changes, metadata, request_id, session_id, app_id,
      producer.service, producer.instance, producer.version)), 'text_not_utf8',
    '')
) ENGINE = Null;

-- The same columns without views: where the worker finds out which rows of a rejected insert the engine can't read.
CREATE TABLE audit_probe AS audit_ingest ENGINE = Null;

-- The log. Only rows equal in the whole sort key replace each other: the same Kafka record landed twice.
CREATE TABLE audit_events (
  workspace_id String CODEC(ZSTD(1)),
  occurred_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
  event_id UUID CODEC(ZSTD(1)),
  category LowCardinality(String),
  event_type LowCardinality(String),
  label LowCardinality(String),
  received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
  actor_type LowCardinality(String),
  actor_id LowCardinality(String),
  actor_name LowCardinality(String),
  actor_email LowCardinality(String),
  on_behalf_of_type LowCardinality(String),
  on_behalf_of_id String CODEC(ZSTD(1)),
  on_behalf_of_name String CODEC(ZSTD(1)),
  source LowCardinality(String),
  ip IPv6 CODEC(ZSTD(1)),
  user_agent LowCardinality(String),
  `targets.type` Array(LowCardinality(String)),
  `targets.id` Array(String) CODEC(ZSTD(3)),
  `targets.name` Array(String) CODEC(ZSTD(3)),
  outcome LowCardinality(String),
  outcome_reason LowCardinality(String),
  changes String CODEC(ZSTD(3)),
  metadata String CODEC(ZSTD(3)),
  request_id String CODEC(ZSTD(1)),
  session_id String CODEC(ZSTD(1)),
  app_id LowCardinality(String),
  producer_service LowCardinality(String),
  producer_instance LowCardinality(String),
  producer_version LowCardinality(String),
  producer_seq Int64 CODEC(Delta, ZSTD(1)),
  kafka_topic LowCardinality(String),
  kafka_topic_id LowCardinality(String),
  kafka_partition Int32 CODEC(ZSTD(1)),
  kafka_offset Int64 CODEC(Delta, ZSTD(1)),
  kafka_timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
  kafka_schema_id Int32 CODEC(ZSTD(1)),
  ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
  INDEX tx_actor actor_id TYPE text(tokenizer = 'array', posting_list_codec = 'bitpacking'),
  INDEX bf_event_type event_type TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX bf_ip ip TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX bf_target `targets.id` TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX bf_event_id event_id TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX mm_ingested_at ingested_at TYPE minmax GRANULARITY 1,
  INDEX mm_kafka_offset kafka_offset TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (workspace_id, occurred_at, event_id, kafka_topic_id, kafka_partition, kafka_offset)
SETTINGS index_granularity = 2048, min_compress_block_size = 16384, max_compress_block_size = 65536,
  non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Every record that is not in audit_events, with its reason. `raw` is the Kafka value where the worker had it; a row
-- with the bytes replaces the view's row without them.
CREATE TABLE audit_quarantine (
  kafka_topic LowCardinality(String),
  kafka_topic_id LowCardinality(String),
  kafka_partition Int32,
  kafka_offset Int64,
  kafka_timestamp DateTime64(3, 'UTC'),
  kafka_schema_id Int32,
  reason LowCardinality(String),
  detail String,
  workspace_id String,
  event_id String,
  event_type String,
  has_raw UInt8,
  raw String CODEC(ZSTD(3)),
  quarantined_at DateTime64(3, 'UTC') DEFAULT now64(3),
  INDEX mm_quarantined_at quarantined_at TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(has_raw)
ORDER BY (kafka_topic_id, kafka_partition, kafka_offset)
SETTINGS non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW audit_events_view TO audit_events AS
SELECT
  audit_ingest.workspace_id AS workspace_id,
  audit_ingest.occurred_at AS occurred_at,
  toUUIDOrZero(audit_ingest.event_id) AS event_id,
  audit_ingest.category AS category,
  audit_ingest.event_type AS event_type,
  audit_ingest.label AS label,
  audit_ingest.received_at AS received_at,
  audit_ingest.actor.type AS actor_type,
  audit_ingest.actor.id AS actor_id,
  audit_ingest.actor.name AS actor_name,
  audit_ingest.actor.email AS actor_email,
  audit_ingest.on_behalf_of.type AS on_behalf_of_type,
  audit_ingest.on_behalf_of.id AS on_behalf_of_id,
  audit_ingest.on_behalf_of.name AS on_behalf_of_name,
  audit_ingest.source AS source,
  audit_ingest.ip_stored AS ip,
  audit_ingest.user_agent AS user_agent,
  audit_ingest.targets.type AS `targets.type`,
  audit_ingest.targets.id AS `targets.id`,
  audit_ingest.targets.name AS `targets.name`,
  audit_ingest.outcome AS outcome,
  audit_ingest.outcome_reason AS outcome_reason,
  audit_ingest.changes AS changes,
  audit_ingest.metadata AS metadata,
  audit_ingest.request_id AS request_id,
  audit_ingest.session_id AS session_id,
  audit_ingest.app_id AS app_id,
  audit_ingest.producer.service AS producer_service,
  audit_ingest.producer.instance AS producer_instance,
  audit_ingest.producer.version AS producer_version,
  audit_ingest.producer.seq AS producer_seq,
  audit_ingest.kafka_topic AS kafka_topic,
  audit_ingest.kafka_topic_id AS kafka_topic_id,
  audit_ingest.kafka_partition AS kafka_partition,
  audit_ingest.kafka_offset AS kafka_offset,
  audit_ingest.kafka_timestamp AS kafka_timestamp,
  audit_ingest.kafka_schema_id AS kafka_schema_id
FROM audit_ingest
WHERE audit_ingest.reason = '';

CREATE MATERIALIZED VIEW audit_quarantine_view TO audit_quarantine AS
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
  '' AS raw
FROM audit_ingest
WHERE audit_ingest.reason != '';
