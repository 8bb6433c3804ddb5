"""Whether a manifest's bytes were signed by a key: raw Ed25519 (RFC 8032), as `openssl pkeyutl` checks it too."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from audit_query.exports.checking.folder import Unusable

PublicKey = Ed25519PublicKey
LENGTH = 64
"""Bytes of a signature."""


def public_key(pem: bytes) -> PublicKey:
    """The key of a PEM file. Raises `Unusable` when it is not an Ed25519 public key."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        private = b"PRIVATE KEY" in pem
        raise Unusable(
            "is a private key; the public one is needed" if private else "is not a public key in PEM"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise Unusable("is not an Ed25519 key")
    return key


def signed_by(key: PublicKey, signature: bytes, document: bytes) -> bool:
    """Whether the signature over exactly these bytes was made with the private half of the key."""
    try:
        key.verify(signature, document)
    except InvalidSignature:
        return False
    return True


__all__ = ["LENGTH", "PublicKey", "public_key", "signed_by"]
