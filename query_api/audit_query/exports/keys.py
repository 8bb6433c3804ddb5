"""The keys that manifests are signed with: raw Ed25519 (RFC 8032).

A private key is a file in a folder that only the export workers can read, `<key id>.pem`, PKCS #8; its public half is in
the control database for ever, so that old manifests can be checked after the key is gone. A key's id is the beginning of
the SHA-256 of its 32 public bytes. Signing is done by the newest key that is not retired and whose file is there.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from sqlalchemy import Engine, insert, select, update

from audit_infra.access.database import transaction
from audit_query.exports.records import instant, milliseconds
from audit_query.exports.tables import signing_keys
from audit_schemas.errors import AuditError

ALGORITHM = "Ed25519"


class KeyProblem(AuditError):
    """A signing key is missing, or can't be used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What is told of a key. A retired one signs nothing more; what it signed stays signed."""

    key_id: str
    public_key_pem: str
    created_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that can sign."""

    key_id: str
    public_key_pem: str
    private: Ed25519PrivateKey

    def sign(self, content: bytes) -> bytes:
        """The 64 bytes of the signature."""
        return self.private.sign(content)


class Keys:
    """The public keys, in the control database. Thread-safe; each call is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> list[PublicKey]:
        """The newest first, retired ones too."""
        wanted = select(signing_keys).order_by(signing_keys.c.created_at.desc(), signing_keys.c.key_id)
        with transaction(self._engine) as connection:
            return [_public(row) for row in connection.execute(wanted)]

    def create(self, folder: Path, now: datetime) -> PublicKey:
        """A new key: its private half is in the folder before the public one is known."""
        private = Ed25519PrivateKey.generate()
        public = private.public_key()
        key_id = hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        content = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            _write_private(folder, key_id, content)
        except OSError as error:
            raise KeyProblem(f"the signing key can't be written to {folder}: {error.strerror}") from None
        with transaction(self._engine) as connection:
            values = {"key_id": key_id, "public_key_pem": pem, "created_at": milliseconds(now)}
            connection.execute(insert(signing_keys).values(values))
        return PublicKey(key_id, pem, now, None)

    def retire(self, folder: Path, key_id: str, now: datetime) -> PublicKey:
        """The key signs nothing from now on, and its private half is deleted. Again, it changes nothing.

        Raises `KeyProblem` when there is none of this id, or no other that could sign.
        """
        known = {key.key_id: key for key in self.all()}
        if key_id not in known:
            raise KeyProblem(f"there is no signing key {key_id[:64]!a}")
        others = [key for key in known.values() if key.retired_at is None and key.key_id != key_id]
        if not any(_file(folder, key.key_id).exists() for key in others):
            raise KeyProblem("no other key could sign: use `audit-log signing-keys rotate`")
        with transaction(self._engine) as connection:
            this = (signing_keys.c.key_id == key_id, signing_keys.c.retired_at.is_(None))
            connection.execute(update(signing_keys).where(*this).values(retired_at=milliseconds(now)))
        _file(folder, key_id).unlink(missing_ok=True)
        return next(key for key in self.all() if key.key_id == key_id)

    def rotate(self, folder: Path, now: datetime) -> tuple[PublicKey, list[PublicKey]]:
        """A new key, and those that it takes the place of, now retired."""
        before = [key for key in self.all() if key.retired_at is None]
        made = self.create(folder, now)
        return made, [self.retire(folder, key.key_id, now) for key in before]

    def signing(self, folder: Path) -> SigningKey:
        """The key to sign with. Raises `KeyProblem` when there is none."""
        for key in self.all():
            path = _file(folder, key.key_id)
            if key.retired_at is None and path.exists():
                return SigningKey(key.key_id, key.public_key_pem, _read_private(path))
        raise KeyProblem(f"there is no signing key in {folder}: make one with `audit-log signing-keys create`")


def verify(public_key_pem: str, content: bytes, signature: bytes) -> bool:
    """Whether the signature is the key's, over exactly this content. Raises `ValueError` when that is no such key."""
    key = load_pem_public_key(public_key_pem.encode())
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"the key is not one of {ALGORITHM}")  # noqa: TRY004  # the text is what is wrong
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _file(folder: Path, key_id: str) -> Path:
    return folder / f"{key_id}.pem"


def _write_private(folder: Path, key_id: str, content: bytes) -> None:
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    descriptor = os.open(_file(folder, key_id), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read_private(path: Path) -> Ed25519PrivateKey:
    try:
        found = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise KeyProblem(f"the signing key {path} can't be read: {error}") from None
    if not isinstance(found, Ed25519PrivateKey):
        raise KeyProblem(f"{path} is not a key of {ALGORITHM}")
    return found


def _public(row: Any) -> PublicKey:
    made = instant(row.created_at)
    assert made is not None  # noqa: S101  # the column is never null
    return PublicKey(row.key_id, row.public_key_pem, made, instant(row.retired_at))


__all__ = ["ALGORITHM", "KeyProblem", "Keys", "PublicKey", "SigningKey", "verify"]
