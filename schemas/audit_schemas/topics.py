"""How the Kafka topics are named: one per category, and one for dead letters."""

from __future__ import annotations

from typing import Final, Literal, get_args

Category = Literal[
    "authentication",
    "internal_users",
    "crm",
    "files",
    "contracts",
    "forms",
    "billing",
    "messages",
    "internal_notes",
    "notifications",
    "tasks",
    "developer",
]
CATEGORIES: Final[tuple[Category, ...]] = get_args(Category)


def topic_of(prefix: str, category: str) -> str:
    """The topic that carries a category, e.g. `audit.files`."""
    return f"{prefix}.{category}"


def event_topics(prefix: str) -> tuple[str, ...]:
    """The 12 topics of events, in the order of `CATEGORIES`."""
    return tuple(topic_of(prefix, category) for category in CATEGORIES)


def dead_letter_topic(prefix: str) -> str:
    """The topic that receives a copy of every quarantined record."""
    return f"{prefix}.dead_letters"


__all__ = ["CATEGORIES", "Category", "dead_letter_topic", "event_topics", "topic_of"]
