"""What happens in a demo workspace: short stories of events that belong together. Pure: a generator in, events out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from audit_local.demo.world import API_AGENTS, DOCUMENTS, FORMS, TASKS, Person, World

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """One event to emit, and how long after the one before."""

    event_type: str
    fields: Fields
    after: timedelta = field(default=timedelta())


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a story plays."""

    world: World
    random: random.Random

    def thing(self, kind: str, name: str) -> dict[str, Any]:
        """A new thing."""
        return {"type": kind, "id": f"{kind[:3]}_{self.random.getrandbits(32):08x}", "name": name}

    def by(self, who: Person, event_type: str, *targets: dict[str, Any], minutes: float = 1, **fields: Any) -> Said:
        """A person does something in the browser."""
        session = f"ses_{who.actor['id']}_{self.random.randrange(100)}"
        return Said(
            event_type,
            {
                "actor": who.actor,
                "source": "web",
                "ip": who.ip,
                "user_agent": who.agent,
                "targets": list(targets),
                "session_id": session,
                "request_id": f"req_{self.random.getrandbits(48):012x}",
                **fields,
            },
            self.later(minutes),
        )

    def auto(self, event_type: str, *targets: dict[str, Any], minutes: float = 0.1, **fields: Any) -> Said:
        """An automation does something."""
        actor = self.random.choice(self.world.automations)
        return Said(
            event_type,
            {"actor": actor, "source": "automation", "targets": list(targets), **fields},
            self.later(minutes),
        )

    def api(self, event_type: str, *targets: dict[str, Any], minutes: float = 0.5, **fields: Any) -> Said:
        """A program does something with an API key."""
        return Said(
            event_type,
            {
                "actor": self.random.choice(self.world.keys),
                "source": "api",
                "ip": "192.0.2.44",
                "user_agent": self.random.choice(API_AGENTS),
                "targets": list(targets),
                **fields,
            },
            self.later(minutes),
        )

    def later(self, minutes: float) -> timedelta:
        """Around so many minutes."""
        return timedelta(minutes=minutes * self.random.uniform(0.2, 1.8))

    def staff(self) -> Person:
        """Somebody of the house; the first few do most."""
        return self.world.staff[min(int(self.random.expovariate(0.5)), len(self.world.staff) - 1)]

    def client(self) -> Person:
        """A client."""
        return self.random.choice(self.world.clients)


def changed(path: str, old: Any, new: Any) -> list[dict[str, Any]]:
    """One change."""
    return [{"path": path, "old": old, "new": new}]


def signs_in(scene: Scene) -> Iterator[Said]:
    """Password, magic link or Google; sometimes wrong first."""
    who = scene.random.choice((scene.staff(), scene.client()))
    method = scene.random.choice(("password", "magic_link", "google"))
    if method == "magic_link":
        yield scene.by(who, "auth.magic_link_sent", who.target)
    if method == "password" and scene.random.random() < 0.3:
        # The name belongs to an account, so the attempt is found among that user's events.
        yield scene.by(who, "auth.login_failed", outcome="failure", outcome_reason="wrong_password", minutes=0.2)
    yield scene.by(who, "auth.login_succeeded", metadata={"method": method})
    yield scene.by(who, "auth.logout", minutes=40)


def tries_names(scene: Scene) -> Iterator[Said]:
    """Nobody's account: the name tried is all there is."""
    stranger = {"type": "anonymous", "id": "", "name": "", "email": f"admin{scene.random.randrange(9)}@example.net"}
    for _ in range(scene.random.randrange(1, 4)):
        fields = {
            "actor": stranger,
            "source": "web",
            "ip": f"198.51.100.{scene.random.randrange(1, 255)}",
            "user_agent": "python-requests/2.32",
            "outcome": "failure",
            "outcome_reason": "unknown_account",
        }
        yield Said("auth.login_failed", fields, scene.later(0.1))


def keeps_account(scene: Scene) -> Iterator[Said]:
    """Passwords, second factors and linked accounts."""
    who = scene.random.choice((scene.staff(), scene.client()))
    choices: list[list[Said]] = [*_account_changes(scene, who)]
    for said in scene.random.sample(choices, 2):
        yield from said


def _account_changes(scene: Scene, who: Person) -> Iterator[list[Said]]:
    yield from (
        (
            [
                scene.by(who, "auth.password_reset_requested", who.target),
                scene.by(who, "auth.password_reset", who.target),
            ],
            [scene.by(who, "auth.password_changed", who.target)],
            [scene.by(who, "auth.google_linked", who.target), scene.by(who, "auth.google_delinked", who.target)],
            [scene.by(who, "auth.mfa_enabled", who.target)],
            [scene.by(scene.world.staff[0], "auth.session_revoked", who.target)],
        )
    )


def changes_team(scene: Scene) -> Iterator[Said]:
    """Colleagues come, change and go."""
    owner = scene.world.staff[scene.random.randrange(2)]
    other = scene.random.choice(scene.world.staff[2:]).target
    yield scene.by(owner, "internal_user.invited", other)
    yield scene.by(owner, "internal_user.added", other, minutes=60)
    yield scene.by(owner, "internal_user.updated", other, changes=changed("title", None, "Account manager"))
    yield scene.by(owner, "internal_user.role_changed", other, changes=changed("role", "staff", "admin"))
    if scene.random.random() < 0.5:
        yield scene.by(owner, "internal_user.removed", other, minutes=600)


def keeps_clients(scene: Scene) -> Iterator[Said]:
    """Clients and companies in the CRM, by people and by programs."""
    who, client = scene.staff(), scene.client().target
    company = scene.random.choice(scene.world.companies)
    do: Callable[..., Said] = scene.api if scene.random.random() < 0.4 else lambda *a, **k: scene.by(who, *a, **k)
    yield do("company.created", company)
    yield do("client.created", client, metadata={"company": company["name"]})
    yield scene.auto("notification.delivered", scene.thing("notification", "Welcome"))
    yield do("client.updated", client, changes=changed("phone", "+49 30 123", "+49 30 456"))
    yield do("company.updated", company, changes=changed("address.city", "Kyiv", "Lviv"))
    if scene.random.random() < 0.4:
        yield scene.by(who, "client.deleted", client, minutes=300)
        yield scene.by(who, "company.deleted", company)


def shares_files(scene: Scene) -> Iterator[Said]:
    """A file goes up, is read by a client, moves, and may go."""
    who, client = scene.staff(), scene.client()
    file = scene.thing("file", scene.random.choice(DOCUMENTS))
    size = scene.random.randrange(1_000, 9_000_000)
    yield scene.by(who, "file.uploaded", file, metadata={"bytes": size, "folder": "/Shared"})
    for _ in range(scene.random.randrange(1, 4)):
        yield scene.by(client, "file.viewed", file, minutes=20)
    yield scene.by(client, "file.downloaded", file, metadata={"bytes": size})
    yield scene.by(who, "file.moved", file, changes=changed("folder", "/Shared", f"/{client.actor['name']}"))
    if scene.random.random() < 0.3:
        yield scene.by(who, "file.deleted", file, minutes=200)


def signs_contract(scene: Scene) -> Iterator[Said]:
    """Sent, read, then signed and downloaded, or voided."""
    who, client = scene.staff(), scene.client()
    contract = scene.thing("contract", f"Agreement {scene.random.randrange(2000, 2999)}")
    yield scene.by(who, "contract.sent", contract)
    yield scene.by(client, "contract.viewed", contract, minutes=90)
    if scene.random.random() < 0.75:
        yield scene.by(client, "contract.signed", contract, minutes=10)
        yield scene.by(who, "contract.downloaded", contract, minutes=30)
    else:
        yield scene.by(who, "contract.voided", contract, minutes=600, metadata={"reason": "Superseded"})


def asks_by_form(scene: Scene) -> Iterator[Said]:
    """A form is made, sent and filled in."""
    who, client = scene.staff(), scene.client()
    form = scene.thing("form", scene.random.choice(FORMS))
    yield scene.by(who, "form.created", form)
    yield scene.by(who, "form.sent", form, metadata={"to": client.actor["email"]})
    yield scene.by(client, "form.submitted", form, minutes=240, metadata={"answers": scene.random.randrange(3, 20)})


def bills(scene: Scene) -> Iterator[Said]:
    """An invoice is paid by card, sometimes given back, sometimes voided."""
    who, client = scene.staff(), scene.client()
    invoice = scene.thing("invoice", f"INV-{scene.random.randrange(10_000, 99_999)}")
    amount = {"amount": scene.random.randrange(50, 9_000), "currency": scene.random.choice(("EUR", "USD"))}
    yield scene.by(who, "invoice.created", invoice, metadata=amount)
    yield scene.auto("invoice.sent", invoice, metadata={"to": client.actor["email"]})
    fate = scene.random.random()
    if fate < 0.15:
        yield scene.by(who, "invoice.voided", invoice, minutes=100)
        return
    if fate < 0.3:
        yield scene.by(client, "payment.failed", invoice, outcome="failure", outcome_reason="card_declined", minutes=60)
    yield scene.by(client, "invoice.paid", invoice, minutes=200, metadata=amount)
    if fate > 0.85:
        yield scene.api("invoice.refunded", invoice, minutes=900, metadata=amount)


def writes(scene: Scene) -> Iterator[Said]:
    """Messages with a client, and notes among colleagues."""
    who, client = scene.staff(), scene.client()
    message, note = scene.thing("message", ""), scene.thing("note", f"About {client.actor['name']}")
    yield scene.by(who, "message.sent", message, metadata={"to": client.actor["name"]})
    yield scene.auto("notification.delivered", scene.thing("notification", "New message"))
    yield scene.by(client, "notification.viewed", scene.thing("notification", "New message"), minutes=15)
    yield scene.by(client, "message.sent", scene.thing("message", ""), minutes=10)
    if scene.random.random() < 0.4:
        yield scene.by(who, "message.edited", message)
    if scene.random.random() < 0.2:
        yield scene.by(who, "message.deleted", message)
    yield scene.by(who, "note.created", note)
    if scene.random.random() < 0.5:
        yield scene.by(who, "note.edited", note, minutes=20)
    if scene.random.random() < 0.2:
        yield scene.by(who, "note.deleted", note, minutes=100)


def works_tasks(scene: Scene) -> Iterator[Said]:
    """A task from its making to its end."""
    who = scene.staff()
    task = scene.thing("task", scene.random.choice(TASKS))
    yield scene.by(who, "task.created", task)
    yield scene.by(who, "task.updated", task, changes=changed("due", "2026-10-01", "2026-10-08"))
    if scene.random.random() < 0.8:
        yield scene.by(scene.client(), "task.completed", task, minutes=600)
    else:
        yield scene.by(who, "task.deleted", task, minutes=300)


def builds(scene: Scene) -> Iterator[Said]:
    """Keys, and the events of custom apps beside native ones."""
    owner = scene.world.staff[0]
    key = {"type": "api_key", "id": f"key_{scene.random.getrandbits(24):06x}", "name": "Integration"}
    app = scene.random.choice(scene.world.apps)
    if scene.random.random() < 0.3:
        yield scene.by(owner, "api_key.created", key)
        yield scene.api("api_key.used", key)
        yield scene.by(owner, "api_key.revoked", key, minutes=900)
    actor = {"type": "custom_app", "id": app, "name": app.replace("-", " ").title(), "email": ""}
    event_type, label = (
        ("deal.stage_changed", "Deal Stage Changed") if app == "deal-board" else ("timer.stopped", "Timer Stopped")
    )
    on_behalf = {"type": "internal_user", "id": owner.actor["id"], "name": owner.actor["name"]}
    fields = {"actor": actor, "on_behalf_of": on_behalf, "source": "api", "app_id": app, "label": label}
    yield Said(event_type, {**fields, "metadata": {"minutes": scene.random.randrange(5, 200)}}, scene.later(1))


STORIES: tuple[tuple[Callable[[Scene], Iterator[Said]], int], ...] = (
    (signs_in, 9),
    (tries_names, 1),
    (keeps_account, 2),
    (changes_team, 1),
    (keeps_clients, 3),
    (shares_files, 8),
    (signs_contract, 3),
    (asks_by_form, 3),
    (bills, 4),
    (writes, 8),
    (works_tasks, 4),
    (builds, 3),
)


def stories(scene: Scene) -> Iterator[list[Said]]:
    """Stories without end, the frequent ones more often; the first ones are one of each."""
    for story, _ in STORIES:
        yield list(story(scene))
    choices, weights = zip(*STORIES, strict=True)
    while True:
        yield list(scene.random.choices(choices, weights)[0](scene))


@dataclass(frozen=True, slots=True)
class Happening:
    """One event with its workspace, instant and identity: the same for the same seed."""

    event_type: str
    fields: Fields


def history(
    worlds: tuple[World, ...], shares: tuple[int, ...], until: datetime, days: int, seed: int
) -> list[Happening]:
    """Exactly `sum(shares)` past events, so many per workspace, in order of time.

    Days nearer to `until` are busier, and most happens in working hours.
    """
    found: list[tuple[datetime, Happening]] = []
    for world_, share in zip(worlds, shares, strict=True):
        random_ = random.Random(f"{world_.workspace_id}:{seed}:history")
        scene = Scene(world_, random_)
        count = 0
        for story in stories(scene):
            at = _working_moment(random_, until, days)
            for said in story:
                at = min(at + said.after, until - timedelta(seconds=random_.uniform(1, 600)))
                if count < share:
                    found.append((at, happening(world_.workspace_id, said, at, random_)))
                    count += 1
            if count >= share:
                break
    found.sort(key=lambda pair: pair[0])
    return [one for _, one in found]


def happening(workspace_id: str, said: Said, at: datetime, random_: random.Random) -> Happening:
    """An event as it is emitted."""
    identity = f"{random_.getrandbits(128):032x}"
    event_id = f"{identity[:8]}-{identity[8:12]}-4{identity[13:16]}-a{identity[17:20]}-{identity[20:]}"
    return Happening(
        said.event_type, {**said.fields, "workspace_id": workspace_id, "occurred_at": at, "event_id": event_id}
    )


def _working_moment(random_: random.Random, until: datetime, days: int) -> datetime:
    back = min(random_.expovariate(3 / days), 1.0 * days)
    moment = until - timedelta(days=back)
    if random_.random() < 0.85:
        moment = moment.replace(hour=min(19, max(7, int(random_.gauss(13, 3)))), minute=random_.randrange(60))
    return min(moment, until - timedelta(minutes=5))


__all__ = ["STORIES", "Happening", "Said", "Scene", "happening", "history", "stories"]
