#!/bin/sh
# Records events of a custom app over HTTP: one, and then two at once that can be sent again without doubling.
# Needs curl. AUDIT_API_KEY is a key with the scope audit:write that belongs to an app:
#   audit-log keys create acme --scope audit:write --app-id crm
set -eu

url="${AUDIT_EVENTS_URL:-http://127.0.0.1:8081}"
key="${AUDIT_API_KEY:?set it to a key with the scope audit:write}"

send() {
  # --retry repeats what did not come through; whatever the service answers counts once per retry key.
  curl --silent --show-error --fail-with-body --retry 5 --max-time 30 \
    --header "X-API-Key: $key" --header "Content-Type: application/json" "$@" "$url/v1/events"
  echo
}

# One event. Its event_id is a retry key of the app's own choice, such as the id of what happened.
send --data '{
  "event_id": "deal-4711-won",
  "event_type": "deal.won",
  "label": "Deal won",
  "targets": [{"type": "deal", "id": "4711", "name": "New roof"}],
  "metadata": {"amount": 129900, "currency": "EUR"}
}'

# Two events in the name of a person. The Idempotency-Key covers the whole request.
send --header "Idempotency-Key: import-${IMPORT:-0001}" --data '{"events": [
  {
    "event_type": "deal.stage_changed",
    "actor": {"type": "internal_user", "id": "u1", "name": "Ada"},
    "ip": "203.0.113.7",
    "user_agent": "Mozilla/5.0",
    "targets": [{"type": "deal", "id": "4712"}],
    "changes": [{"path": "stage", "old": "offer", "new": "won"}]
  },
  {"event_type": "deal.lost", "targets": [{"type": "deal", "id": "4713"}], "outcome_reason": "price"}
]}'
