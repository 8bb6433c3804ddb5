"""The adapter to Kafka: the one part of the worker that knows confluent-kafka."""

from audit_consumers.kafka.cluster import KafkaCluster, create_topics
from audit_consumers.kafka.consumer import KafkaGroupConsumer
from audit_consumers.kafka.dead_letters import KafkaDeadLetters, dead_letter_headers

__all__ = ["KafkaCluster", "KafkaDeadLetters", "KafkaGroupConsumer", "create_topics", "dead_letter_headers"]
