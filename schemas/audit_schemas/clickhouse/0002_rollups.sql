-- Rollups answer the facets. They are caches, rebuilt from audit_events at any time. Partial sums are kept per Kafka
-- partition, because one worker owns a partition: it can mend its own sums without racing another.
CREATE TABLE audit_actors (
  workspace_id String,
  actor_type LowCardinality(String),
  actor_id String,
  kafka_topic_id LowCardinality(String),
  kafka_partition Int32,
  -- (occurred_at, name, email) of the latest event: the greatest tuple wins.
  latest SimpleAggregateFunction(max, Tuple(DateTime64(6, 'UTC'), String, String)),
  events SimpleAggregateFunction(sum, Int64)
) ENGINE = AggregatingMergeTree
ORDER BY (workspace_id, actor_type, actor_id, kafka_topic_id, kafka_partition)
SETTINGS non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE audit_type_day (
  workspace_id String,
  day Date,
  category LowCardinality(String),
  event_type LowCardinality(String),
  app_id LowCardinality(String),
  kafka_topic_id LowCardinality(String),
  kafka_partition Int32,
  label SimpleAggregateFunction(max, String),
  events SimpleAggregateFunction(sum, Int64)
) ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (workspace_id, day, category, event_type, app_id, kafka_topic_id, kafka_partition)
SETTINGS non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW audit_actors_view TO audit_actors AS
SELECT
  audit_ingest.workspace_id AS workspace_id,
  audit_ingest.actor.type AS actor_type,
  audit_ingest.actor.id AS actor_id,
  audit_ingest.kafka_topic_id AS kafka_topic_id,
  audit_ingest.kafka_partition AS kafka_partition,
  max((audit_ingest.occurred_at, audit_ingest.actor.name, audit_ingest.actor.email)) AS latest,
  toInt64(count()) AS events
FROM audit_ingest
WHERE audit_ingest.reason = ''
GROUP BY workspace_id, actor_type, actor_id, kafka_topic_id, kafka_partition;

CREATE MATERIALIZED VIEW audit_type_day_view TO audit_type_day AS
SELECT
  audit_ingest.workspace_id AS workspace_id,
  toDate(audit_ingest.occurred_at) AS day,
  audit_ingest.category AS category,
  audit_ingest.event_type AS event_type,
  audit_ingest.app_id AS app_id,
  audit_ingest.kafka_topic_id AS kafka_topic_id,
  audit_ingest.kafka_partition AS kafka_partition,
  max(audit_ingest.label) AS label,
  toInt64(count()) AS events
FROM audit_ingest
WHERE audit_ingest.reason = ''
GROUP BY workspace_id, day, category, event_type, app_id, kafka_topic_id, kafka_partition;
