"""The public keys of an issuer of tokens, fetched from its address and kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import jwt
import structlog

from audit_infra.access.principal import ControlUnavailable, Unauthenticated

log = structlog.get_logger("audit_infra.access")


class IssuerKeys:
    """A JSON Web Key Set (RFC 7517). Belongs to one event loop.

    Keys are fetched anew when they are half of `max_age_s` old, while the known ones serve on, and when a token names
    an unknown one, at most every `refetch_s`. A key that the issuer has taken back works for at most `max_age_s`; while
    the issuer can't be reached, those that are known go on.
    """

    def __init__(
        self,
        url: str,
        algorithms: Sequence[str],
        clock: Callable[[], datetime],
        *,
        max_age_s: float,
        refetch_s: float,
        timeout_s: int,
    ) -> None:
        # Its own caches would be asked on the loop and forget nothing while the issuer is away.
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=timeout_s)
        self._algorithms, self._clock = frozenset(algorithms), clock
        self._max_age_s, self._refetch_s = max_age_s, refetch_s
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._reached = False
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, key_id: str) -> jwt.PyJWK:
        """The key of this id.

        Raises `Unauthenticated` when the issuer has none, and `ControlUnavailable` when it can't be asked.
        """
        age = self._age(self._fetched_at)
        running = self._fetch() if age >= self._max_age_s / 2 or key_id not in self._keys else None
        # Keys that are known don't wait for an issuer that did not answer the last time.
        must_wait = key_id not in self._keys or (age >= self._max_age_s and self._reached)
        if running is not None and must_wait:
            # A request that is given up must not end the fetching, for which others wait.
            await asyncio.shield(running)
        if found := self._keys.get(key_id):
            return found
        if not self._reached:
            raise ControlUnavailable("the keys of the tokens' issuer can't be fetched")
        raise Unauthenticated("the token is not valid: its issuer has no such key")

    def _age(self, since: float) -> float:
        """Seconds; a clock that was set back makes old of what is newer than now."""
        return abs(self._clock().timestamp() - since)

    def _fetch(self) -> asyncio.Task[None] | None:
        """The fetching that runs or begins now; None when the last one was just now."""
        if self._fetching is None and self._age(self._tried_at) >= self._refetch_s:
            self._tried_at = self._clock().timestamp()
            self._fetching = asyncio.create_task(self._replace())
        return self._fetching

    async def _replace(self) -> None:
        try:
            found = jwt.PyJWKSet.from_dict(await asyncio.to_thread(self._client.fetch_data))
        except (jwt.PyJWTError, OSError, ValueError, TypeError, AttributeError) as error:
            # Whatever the other side sends instead of keys.
            self._reached = False
            log.warning("the keys of the tokens' issuer can't be fetched; known ones go on", error=str(error))
        else:
            self._reached, self._fetched_at = True, self._clock().timestamp()
            self._keys = {key.key_id: key for key in found.keys if key.key_id and self._is_for_us(key)}
        finally:
            self._fetching = None

    def _is_for_us(self, key: jwt.PyJWK) -> bool:
        """A secret in a public list would let everybody sign; keys for encryption sign nothing."""
        return key.algorithm_name in self._algorithms and key.public_key_use in (None, "sig")


__all__ = ["IssuerKeys"]
