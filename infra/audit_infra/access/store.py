"""Workspaces with their plans, API keys, and the codes that sign a person in to the page."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from sqlalchemy import Engine, delete, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from audit_infra.access.database import transaction
from audit_infra.access.migrations import open_migrated
from audit_infra.access.principal import (
    PAGE_SCOPES,
    PLANS,
    AccessError,
    Principal,
    Scope,
    Unauthenticated,
)
from audit_infra.access.tables import api_keys, sign_in_codes, workspaces

KEY_PREFIX = "alk_"
CODE_LIFETIME = timedelta(seconds=60)
_WORKSPACE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_KEY_ID = re.compile(r"[0-9a-f]{16}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_VISIBLE = 12


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant."""

    id: str
    name: str
    plan: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it can be shown: its secret is known only to whoever made it."""

    id: str
    workspace_id: str
    prefix: str
    name: str
    scopes: frozenset[str]
    app_id: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; `secret` is told once and never again."""

    key: ApiKey
    secret: str


class Access:
    """Reads and writes the control tables. Thread-safe; every call is one transaction and may block on the disk."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, database_url: str) -> Self:
        """Opens the database and brings its tables up to date. SQLite files get their folder made.

        Raises `ControlUnavailable`, and `ContractBroken` for a database that a newer version has changed.
        """
        return cls(open_migrated(database_url))

    @property
    def engine(self) -> Engine:
        """The control database, for whoever else has tables there."""
        return self._engine

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()

    def create_workspace(self, workspace_id: str, plan: str, name: str = "", now: datetime | None = None) -> Workspace:
        """Raises `AccessError` for a bad id or plan and for an id that is taken."""
        if not _WORKSPACE.fullmatch(workspace_id):
            raise AccessError("a workspace id has 1 to 64 of A-Z a-z 0-9 _ . : -")
        _check_plan(plan)
        _check_text("name", name, 256)
        try:
            with transaction(self._engine) as connection:
                connection.execute(
                    insert(workspaces).values(id=workspace_id, name=name, plan=plan, created_at=_ms(now))
                )
        except IntegrityError:
            raise AccessError(f"there is a workspace {workspace_id} already") from None
        return self.get_workspace(workspace_id)

    def get_workspace(self, workspace_id: str) -> Workspace:
        """Raises `AccessError` when there is none of this id."""
        row = None
        if _WORKSPACE.fullmatch(workspace_id):  # PostgreSQL would fail at what can't be an id, such as NUL
            with transaction(self._engine) as connection:
                row = connection.execute(select(workspaces).where(workspaces.c.id == workspace_id)).one_or_none()
        if row is None:
            raise AccessError(f"there is no workspace {workspace_id[:64]!a}")
        return _workspace(row)

    def list_workspaces(self, after: str = "", most: int | None = None) -> list[Workspace]:
        """By id: all, or at most so many behind the id `after`."""
        query = select(workspaces).where(workspaces.c.id > after).order_by(workspaces.c.id).limit(most)
        with transaction(self._engine) as connection:
            return [_workspace(row) for row in connection.execute(query)]

    def set_plan(self, workspace_id: str, plan: str) -> Workspace:
        """Raises `AccessError` for an unknown workspace or plan."""
        _check_plan(plan)
        self.get_workspace(workspace_id)
        with transaction(self._engine) as connection:
            connection.execute(update(workspaces).where(workspaces.c.id == workspace_id).values(plan=plan))
        return self.get_workspace(workspace_id)

    def create_key(
        self,
        workspace_id: str,
        scopes: Collection[str],
        name: str = "",
        app_id: str = "",
        expires_at: datetime | None = None,
        now: datetime | None = None,
    ) -> NewKey:
        """A key of 256 random bits; only its SHA-256 is kept. Raises `AccessError` for unknown scopes or workspace."""
        self.get_workspace(workspace_id)
        if unknown := sorted(set(scopes) - set(Scope)):
            raise AccessError(f"unknown scopes: {', '.join(unknown)}; there are {', '.join(Scope)}")
        if not scopes:
            raise AccessError("a key needs at least one scope")
        _check_text("name", name, 256)
        _check_text("app id", app_id, 64)
        secret = KEY_PREFIX + secrets.token_urlsafe(32)
        key_id = secrets.token_hex(8)
        with transaction(self._engine) as connection:
            connection.execute(
                insert(api_keys).values(
                    id=key_id,
                    workspace_id=workspace_id,
                    hash=_hash(secret),
                    prefix=secret[:_VISIBLE],
                    name=name,
                    scopes=" ".join(sorted(scopes)),
                    app_id=app_id,
                    created_at=_ms(now),
                    expires_at=None if expires_at is None else _ms(expires_at),
                )
            )
        return NewKey(self.get_key(key_id), secret)

    def get_key(self, key_id: str) -> ApiKey:
        """Raises `AccessError` when there is none of this id."""
        row = None
        if _KEY_ID.fullmatch(key_id):
            with transaction(self._engine) as connection:
                row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
        if row is None:
            raise AccessError(f"there is no key {key_id[:64]!a}")
        return _key(row)

    def list_keys(
        self, workspace_id: str | None = None, after: ApiKey | None = None, most: int | None = None
    ) -> list[ApiKey]:
        """All keys, or those of one workspace, oldest first, revoked ones too; at most so many behind `after`."""
        order = tuple_(api_keys.c.created_at, api_keys.c.id)
        query = select(api_keys).order_by(*order.clauses).limit(most)
        if workspace_id is not None:
            query = query.where(api_keys.c.workspace_id == workspace_id)
        if after is not None:
            query = query.where(order > (_ms(after.created_at), after.id))
        with transaction(self._engine) as connection:
            return [_key(row) for row in connection.execute(query)]

    def revoke_key(self, key_id: str, now: datetime | None = None) -> bool:
        """From now on the key opens nothing; whether it was this call that revoked it.

        Raises `AccessError` when there is none of this id.
        """
        self.get_key(key_id)
        to_revoke = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        with transaction(self._engine) as connection:
            return connection.execute(to_revoke.values(revoked_at=_ms(now))).rowcount == 1

    def authenticate_key(self, secret: str, now: datetime) -> Principal:
        """Raises `Unauthenticated` for a key that is unknown, expired or revoked, without saying which."""
        with transaction(self._engine) as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.hash == _hash(secret))).one_or_none()
        if row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= _ms(now)):
            raise Unauthenticated("the API key is not valid")
        return Principal(
            workspace_id=row.workspace_id,
            kind="key",
            subject=row.id,
            name=row.name,
            scopes=frozenset(row.scopes.split()),
            app_id=row.app_id,
            credential_prefix=row.prefix,
        )

    def create_sign_in_code(
        self,
        workspace_id: str,
        user_id: str,
        name: str,
        email: str,
        reusable: bool = False,
        now: datetime | None = None,
    ) -> str:
        """A code of 256 random bits that signs this person in: once within 60 s, or again and again if reusable."""
        self.get_workspace(workspace_id)
        code = secrets.token_urlsafe(32)
        with transaction(self._engine) as connection:
            connection.execute(
                insert(sign_in_codes).values(
                    hash=_hash(code),
                    workspace_id=workspace_id,
                    user_id=user_id,
                    name=name,
                    email=email,
                    created_at=_ms(now),
                    reusable=reusable,
                )
            )
        return code

    def redeem_sign_in_code(self, code: str, now: datetime) -> Principal:
        """Raises `Unauthenticated` for a code that is unknown, used or too old."""
        hashed = _hash(code)
        with transaction(self._engine) as connection:
            row = connection.execute(select(sign_in_codes).where(sign_in_codes.c.hash == hashed)).one_or_none()
            fresh = row is not None and _ms(now) - row.created_at <= CODE_LIFETIME.total_seconds() * 1000
            if row is None or not (row.reusable or (fresh and row.used_at is None)):
                raise Unauthenticated("the sign-in code is not valid any more")
            if not row.reusable:
                # The condition makes a code that two requests redeem at once good for one of them.
                taken = connection.execute(
                    update(sign_in_codes)
                    .where(sign_in_codes.c.hash == hashed, sign_in_codes.c.used_at.is_(None))
                    .values(used_at=_ms(now))
                )
                if taken.rowcount != 1:
                    raise Unauthenticated("the sign-in code is not valid any more")
        return Principal(
            workspace_id=row.workspace_id,
            kind="user",
            subject=row.user_id,
            name=row.name,
            email=row.email,
            scopes=PAGE_SCOPES,
        )

    def forget_sign_in_codes(self) -> None:
        """No code signs anybody in any more."""
        with transaction(self._engine) as connection:
            connection.execute(delete(sign_in_codes))


def _check_plan(plan: str) -> None:
    if plan not in PLANS:
        raise AccessError(f"there is no plan {plan!r}; there are {', '.join(PLANS)}")


def _check_text(what: str, text: str, most: int) -> None:
    if len(text) > most or _CONTROL.search(text):
        raise AccessError(f"the {what} has at most {most} characters, and no control characters")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _ms(instant: datetime | None) -> int:
    return int((instant or datetime.now(UTC)).timestamp() * 1000)


def _instant(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _workspace(row: Any) -> Workspace:
    return Workspace(row.id, row.name, row.plan, datetime.fromtimestamp(row.created_at / 1000, UTC))


def _key(row: Any) -> ApiKey:
    return ApiKey(
        id=row.id,
        workspace_id=row.workspace_id,
        prefix=row.prefix,
        name=row.name,
        scopes=frozenset(row.scopes.split()),
        app_id=row.app_id,
        created_at=datetime.fromtimestamp(row.created_at / 1000, UTC),
        expires_at=_instant(row.expires_at),
        revoked_at=_instant(row.revoked_at),
    )


__all__ = ["KEY_PREFIX", "Access", "ApiKey", "NewKey", "Workspace"]
