"""Tokens of an issuer with public keys: a real key server that rotates, lags and goes away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from pydantic import SecretStr, ValidationError

from audit_infra.access import PAGE_SCOPES, Unauthenticated
from audit_infra.access.jwks import IssuerKeys
from audit_query.settings import QuerySettings
from tests.builders import NOON
from tests.support.query_service import SIGNING_KEY, QueryService
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.events_service import StartEventsApi
    from tests.support.servers import ClickHouseServer

MAX_AGE_S, REFETCH_S = 300, 10
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEYS: dict[str, Any] = {
    "rsa": RSA,
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "ed": ed25519.Ed25519PrivateKey.generate(),
    "next": rsa.generate_private_key(public_exponent=65537, key_size=2048),
}
ALGORITHMS = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA", "next": "RS256"}
PUBLIC = {
    "rsa": RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True),
    "ec": ECAlgorithm.to_jwk(KEYS["ec"].public_key(), as_dict=True),
    "ed": OKPAlgorithm.to_jwk(KEYS["ed"].public_key(), as_dict=True),
    "next": RSAAlgorithm.to_jwk(KEYS["next"].public_key(), as_dict=True),
}

CLAIMS: tuple[tuple[dict[str, Any], int], ...] = (
    ({"iss": "portal"}, 401),
    ({"aud": "audit-log"}, 401),
    ({"exp": NOON}, 401),
    ({"exp": NOON + timedelta(minutes=15, seconds=1)}, 401),
    ({"exp": None}, 401),
    ({"nbf": NOON + timedelta(seconds=29), "iat": NOON + timedelta(days=1)}, 200),
    ({"nbf": NOON + timedelta(seconds=31)}, 401),
    ({"sub": "a\0b"}, 401),
    ({"sub": "s" * 129}, 401),
    ({"workspace": "un\0known"}, 403),
    ({"workspace": "unknown"}, 403),
    ({"scopes": ["audit:export"]}, 403),
)


class Issuer:
    """Publishes `keys`, or answers `instead`, and counts how often it was asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.instead: bytes | None = None
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                body = json.dumps({"keys": issuer.keys}).encode() if issuer.instead is None else issuer.instead
                self.send_response(500 if issuer.instead == b"" else 200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def publish(self, *names: str) -> None:
        self.keys = [{**PUBLIC[name], "kid": name, "use": "sig"} for name in names]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """A key server that publishes one key of each kind."""
    found = Issuer()
    found.publish("rsa", "ec", "ed")
    yield found
    found.close()


@pytest.fixture
def service(
    clickhouse: ClickHouseServer, query: QueryService, issuer: Issuer, tmp_path: Path
) -> Iterator[QueryService]:
    """A query service that takes the issuer's tokens; the workspace w1 is there."""
    found = QueryService(clickhouse.url, query.database, tmp_path, taking(issuer))
    yield found
    found.close()


def taking(issuer: Issuer) -> dict[str, Any]:
    """The settings that say so."""
    return {
        "jwt_secret": SecretStr(""),
        "jwks_url": issuer.url,
        "jwt_issuer": "https://portal.example",
        "jwt_audience": "log",
        "jwks_max_age_s": MAX_AGE_S,
        "jwks_refetch_s": REFETCH_S,
    }


def token(service: Any, key: str = "rsa", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """One that is in order, but for what is given; what is None is left out."""
    default = {
        "iss": "https://portal.example",
        "aud": "log",
        "sub": "u1",
        "workspace": "w1",
        "exp": service.clock.now + timedelta(minutes=5),
        "scopes": [*PAGE_SCOPES],
    }
    body = {name: value for name, value in (default | claims).items() if value is not None}
    return jwt.encode(body, KEYS[key], ALGORITHMS[key], headers={"kid": key} | (headers or {}))


def ask(service: QueryService, secret: str) -> httpx.Response:
    return service.guest().get("/v1/events", headers={"Authorization": f"Bearer {secret}"})


def test_tokens_of_each_kind_of_key_open_the_api_and_the_page(service: QueryService, issuer: Issuer) -> None:
    """One fetch serves them all; a posted one becomes a session."""
    for key in ("rsa", "ec", "ed"):
        assert ask(service, token(service, key)).status_code == 200
    browser = service.guest()
    assert browser.post("/audit-log/session", data={"token": token(service)}).status_code == 303
    assert browser.get("/audit-log").status_code == 200
    assert issuer.asked == 1


def test_the_events_api_takes_the_same_tokens(start_events_api: StartEventsApi, issuer: Issuer) -> None:
    """Both services verify by one object, with the same settings."""
    service = start_events_api(**taking(issuer))
    for workspace, status in (("w1", 200), ("unknown", 403)):
        headers = {"Authorization": f"Bearer {token(service, workspace=workspace)}"}
        assert service.guest().get("/v1/event-types", headers=headers).status_code == status


def test_the_claims_must_be_in_order(service: QueryService) -> None:
    """Issuer and audience are settings; unknown workspaces are 403; nothing that is signed makes a fault of ours."""
    for claims, status in CLAIMS:
        assert ask(service, token(service, **claims)).status_code == status, claims


def test_nobody_else_can_sign(service: QueryService, issuer: Issuer) -> None:
    """Not with the public key as a secret, a published secret, no algorithm, another's key, or without naming a key."""
    pem = (
        KEYS["rsa"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    shared = "a secret that somebody published by mistake"
    issuer.keys.append(
        {"kty": "oct", "kid": "oct", "alg": "HS256", "k": jwt.utils.base64url_encode(shared.encode()).decode()}
    )
    claims = jwt.decode(token(service), options={"verify_signature": False})
    forged = [
        jwt.api_jws.encode(json.dumps(claims).encode(), shared, "HS256", headers={"kid": "oct"}),
        jwt.encode(claims, "", "none", headers={"kid": "rsa"}),
        token(service, "next", headers={"kid": "rsa"}),
        token(service, "ec", headers={"kid": "ed"}),
        jwt.encode(claims, KEYS["rsa"], "RS256"),
        token(service, "next"),
        "a.b.c",
    ]
    head, body, _ = token(service).split(".")
    confused = jwt.utils.base64url_encode(json.dumps({"alg": "HS256", "kid": "rsa"}).encode()).decode()
    signed = f"{confused}.{body}"
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signed.encode(), pem)
    forged += [f"{signed}.{jwt.utils.base64url_encode(signature).decode()}", f"{head}.{body}."]
    # The secret's key, under the name of an algorithm that is taken.
    disguised = jwt.utils.base64url_encode(json.dumps({"alg": "RS256", "kid": "oct"}).encode()).decode()
    signed = f"{disguised}.{body}"
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signed.encode(), shared.encode())
    forged.append(f"{signed}.{jwt.utils.base64url_encode(signature).decode()}")
    for secret in forged:
        assert ask(service, secret).status_code == 401, secret
    assert ask(service, token(service)).status_code == 200


def test_only_keys_for_pinned_signatures_are_kept(issuer: Issuer) -> None:
    """No secret, no key for encryption, no algorithm that is not pinned, whatever the library would make of them."""
    issuer.publish("rsa", "ec")
    issuer.keys.append({**PUBLIC["next"], "kid": "enc", "use": "enc"})
    issuer.keys.append(
        {"kty": "oct", "kid": "oct", "alg": "HS256", "k": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA"}
    )
    times = {"max_age_s": MAX_AGE_S, "refetch_s": REFETCH_S, "timeout_s": 5}
    keys = IssuerKeys(issuer.url, ("RS256",), lambda: NOON, **times)

    async def kept() -> set[str]:
        found = set()
        for name in ("rsa", "ec", "enc", "oct"):
            with contextlib.suppress(Unauthenticated):
                found.add((await keys.key(name)).key_id or "")
        return found

    assert asyncio.run(kept()) == {"rsa"}


def test_keys_rotate(service: QueryService, issuer: Issuer) -> None:
    """A new key is looked for once, at most so often; one that was taken back stops working in time."""
    assert ask(service, token(service)).status_code == 200
    issuer.publish("next")
    # The last fetch was just now: whoever makes up names of keys can't make us ask for each.
    for _ in range(3):
        assert ask(service, token(service, "next")).status_code == 401
    assert issuer.asked == 1
    service.clock.now += timedelta(seconds=REFETCH_S)
    assert ask(service, token(service, "next")).status_code == 200
    assert issuer.asked == 2
    assert ask(service, token(service)).status_code == 401
    issuer.publish("rsa")
    service.clock.now += timedelta(seconds=MAX_AGE_S)
    assert ask(service, token(service, "next")).status_code == 401
    assert ask(service, token(service)).status_code == 200
    assert issuer.asked == 3


def test_keys_are_fetched_anew_before_they_are_too_old(service: QueryService, issuer: Issuer) -> None:
    """Behind the requests, so that none waits for the issuer."""
    assert ask(service, token(service)).status_code == 200
    issuer.publish("next")
    service.clock.now += timedelta(seconds=MAX_AGE_S / 2)
    assert ask(service, token(service)).status_code == 200
    eventually(lambda: ask(service, token(service)).status_code == 401, 10, "the key that was taken back is forgotten")
    assert issuer.asked == 2


def test_an_issuer_that_does_not_answer_stops_only_unknown_keys(service: QueryService, issuer: Issuer) -> None:
    """Known keys go on for as long as it takes; for others it is 503, and when it is back they work."""
    assert ask(service, token(service)).status_code == 200
    issuer.publish("rsa", "next")
    for issuer.instead in (b"", b"no JSON", b"[]", b'{"keys": 5}'):
        service.clock.now += timedelta(seconds=MAX_AGE_S + 1)
        assert ask(service, token(service)).status_code == 200
        service.clock.now += timedelta(seconds=REFETCH_S)
        refused = ask(service, token(service, "next"))
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:audit-log:problem:unavailable")
        assert int(refused.headers["retry-after"]) >= 1
    issuer.instead = None
    service.clock.now += timedelta(seconds=REFETCH_S)
    assert ask(service, token(service, "next")).status_code == 200


@pytest.mark.parametrize(
    "bad",
    [
        {"jwt_algorithms": "RS256,HS256"},
        {"jwt_algorithms": "none"},
        {"jwt_algorithms": ","},
        {"jwks_url": "file:///keys"},
        {"jwks_url": "https://portal.example/keys", "jwt_secret": "a secret of enough bytes, or more"},
        {"jwks_max_age_s": 10, "jwks_refetch_s": 6},
    ],
)
def test_settings_that_are_not_safe_are_refused(bad: dict[str, Any]) -> None:
    """No secret among public keys, one way to verify, and a web address."""
    with pytest.raises(ValidationError):
        QuerySettings.model_validate({"signing_keys": SIGNING_KEY, **bad})
    QuerySettings.model_validate({"signing_keys": SIGNING_KEY, "jwks_url": "https://portal.example/keys"})
