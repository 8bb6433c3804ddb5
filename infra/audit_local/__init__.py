"""The local stack: Kafka, the ClickHouse front, the supervisor, the demo."""
