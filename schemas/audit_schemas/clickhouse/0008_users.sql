-- What the projections of audit_events answer needs no sums beside them.
DROP TABLE audit_actors_view;

DROP TABLE audit_type_day_view;

DROP TABLE audit_actors;

DROP TABLE audit_type_day;

-- Who acted last, and what everybody was ever called: it proposes users, and audit_events is asked about those alone. A
-- row for each name and address, so that a later copy which says something else hides nobody from a search. A maximum is
-- the same however often an event lands.
CREATE TABLE audit_users (
  workspace_id String,
  actor_type LowCardinality(String),
  actor_id String,
  actor_name String,
  actor_email String,
  latest SimpleAggregateFunction(max, DateTime64(6, 'UTC'))
) ENGINE = AggregatingMergeTree
ORDER BY (workspace_id, actor_type, actor_id, actor_name, actor_email)
SETTINGS non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW audit_users_view TO audit_users AS
SELECT
  audit_ingest.workspace_id AS workspace_id,
  audit_ingest.actor.type AS actor_type,
  audit_ingest.actor.id AS actor_id,
  audit_ingest.actor.name AS actor_name,
  audit_ingest.actor.email AS actor_email,
  max(audit_ingest.occurred_at) AS latest
FROM audit_ingest
WHERE audit_ingest.reason = ''
GROUP BY workspace_id, actor_type, actor_id, actor_name, actor_email;

INSERT INTO audit_users
SELECT workspace_id, actor_type, actor_id, actor_name, actor_email, max(occurred_at)
FROM audit_events
GROUP BY workspace_id, actor_type, actor_id, actor_name, actor_email;
