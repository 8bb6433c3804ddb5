"""The people and things of a demo workspace: who works there, for whom, and with what. Pure: a seed in, values out."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

STAFF = (
    ("Dana Reyes", "owner"),
    ("Ada Okafor", "admin"),
    ("Jonas Weber", "staff"),
    ("Mei-Ling Chen (陳美玲)", "staff"),
    ("Élodie Marchand", "staff"),
    ("Søren Kjær", "staff"),
    ("Fatima al-Zahra فاطمة", "staff"),
    ("Luca Ferrari", "staff"),
)
CLIENTS = (
    *("Priya Natarajan", "Tom Becker", "Agnieszka Wiśniewska", "Kofi Mensah", "Hannah Lindqvist", "Rafael Souza"),
    *(
        "Yuki Tanaka (田中 由紀)",
        "Olena Shevchenko",
        "Marta Vidal",
        "Ibrahim Demir",
        "Grace O'Neill",
        "Nikos Papadakis",
    ),
)
COMPANIES = (
    "Bluewater Logistics",
    "Kestrel & Sons",
    "Café Meridian",
    "Ōtani Robotics",
    "Pine Street Dental",
    "Vega Labs",
)
DOCUMENTS = (
    *("Statement of work.pdf", "Q3 report.xlsx", "Onboarding checklist.docx", "Passport scan.jpg", "Logo final v7.ai"),
    *("Jahresabschluss.pdf", "Invoice backup.zip", "Meeting notes.md", "Floor plan.dwg", "=Budget.csv"),
)
FORMS = ("Client intake", "Tax questionnaire", "Feedback", "Project brief")
TASKS = ("Collect bank statements", "Review draft", "Send welcome pack", "Renew certificate", "Call back")
AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0"
    " Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6"
    " Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
    " Edg/141.0.0.0",
)
API_AGENTS = ("portal-python/2.4.1", "zapier/1.0", "curl/8.9.1")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a device: the actor and where the requests come from."""

    actor: dict[str, Any]
    ip: str
    agent: str
    company: dict[str, Any] | None = None

    @property
    def target(self) -> dict[str, Any]:
        """The person as what is acted on."""
        return {"type": self.actor["type"], "id": self.actor["id"], "name": self.actor["name"]}


@dataclass(frozen=True, slots=True)
class World:
    """One workspace."""

    workspace_id: str
    staff: tuple[Person, ...]
    clients: tuple[Person, ...]
    companies: tuple[dict[str, Any], ...]
    keys: tuple[dict[str, Any], ...]
    automations: tuple[dict[str, Any], ...]
    apps: tuple[str, ...]


def world(workspace_id: str, seed: int) -> World:
    """The same workspace for the same seed."""
    random_ = random.Random(f"{workspace_id}:{seed}")
    domain = f"{workspace_id.partition('-')[0]}.example"
    companies = tuple(
        {"type": "company", "id": f"cmp_{number:03}", "name": name}
        for number, name in enumerate(random_.sample(COMPANIES, len(COMPANIES)))
    )

    def person(kind: str, prefix: str, number: int, name: str, where: str, agent: str) -> Person:
        mail = "".join(letter for letter in name.lower().split(" (")[0].replace(" ", ".") if letter.isascii())
        actor = {"type": kind, "id": f"{prefix}_{number:03}", "name": name, "email": f"{mail}@{where}"}
        return Person(actor, _address(random_), agent, random_.choice(companies) if kind == "client" else None)

    return World(
        workspace_id=workspace_id,
        staff=tuple(
            person("internal_user", "usr", number, name, domain, random_.choice(AGENTS))
            for number, (name, _) in enumerate(STAFF)
        ),
        clients=tuple(
            person("client", "cli", number, name, "mail.example", random_.choice(AGENTS))
            for number, name in enumerate(CLIENTS)
        ),
        companies=companies,
        keys=(
            {"type": "api_key", "id": "key_backoffice", "name": "Back office sync", "email": ""},
            {"type": "api_key", "id": "key_reporting", "name": "Reporting", "email": ""},
        ),
        automations=(
            {"type": "automation", "id": "aut_welcome", "name": "Welcome new clients", "email": ""},
            {"type": "automation", "id": "aut_reminders", "name": "Invoice reminders", "email": ""},
        ),
        apps=("time-tracker", "deal-board"),
    )


def _address(random_: random.Random) -> str:
    if random_.random() < 0.3:
        return f"2001:db8:{random_.randrange(1, 65535):x}::{random_.randrange(1, 65535):x}"
    return f"{random_.choice(('198.51.100', '203.0.113'))}.{random_.randrange(1, 255)}"


__all__ = ["API_AGENTS", "DOCUMENTS", "FORMS", "TASKS", "Person", "World", "world"]
