"""How an event gets from Kafka into ClickHouse exactly once."""
