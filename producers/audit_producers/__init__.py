"""How an event gets into Kafka."""
