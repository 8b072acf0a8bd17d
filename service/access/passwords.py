"""Password hashing with argon2 in a thread, and a short cache of passwords that were correct."""

import asyncio
import hmac
import secrets
import time
from collections import OrderedDict
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

HASHER = PasswordHasher()  # argon2id, RFC 9106's second recommended option: 64 MiB, 3 passes
CACHE_SECONDS = 60.0  # for which a correct password is accepted without hashing it again
CACHE_SIZE = 1000  # passwords
CONCURRENT_CHECKS = 2  # each uses one core, and the memory of HASHER


class PasswordVerifier:
    """Checks passwords. The cache holds only digests, keyed with a random key that never leaves the process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._cache: OrderedDict[bytes, float] = OrderedDict()  # digest → expiry in seconds of time.monotonic
        self.slots = asyncio.Semaphore(CONCURRENT_CHECKS)

    def is_cached(self, password: bytes, hashed: str) -> bool:
        """Return whether `password` was correct for `hashed` in the last CACHE_SECONDS.

        A changed password has another hash, so its old cache entry is never used.
        """
        return self._cache.get(self._digest(password, hashed), 0.0) > time.monotonic()

    async def verify(self, password: bytes, hashed: str | None) -> bool:
        """Return whether `password` matches `hashed`; an empty password never does.

        Without a hash the check takes the same time, which prevents user enumeration by timing.
        """
        correct = await asyncio.to_thread(_matches, password, hashed) and hashed is not None and password != b""
        if correct and hashed is not None:
            digest = self._digest(password, hashed)
            self._cache[digest] = time.monotonic() + CACHE_SECONDS
            self._cache.move_to_end(digest)
            if len(self._cache) > CACHE_SIZE:
                self._cache.popitem(last=False)
        return correct

    def _digest(self, password: bytes, hashed: str) -> bytes:
        return hmac.digest(self._key, hashed.encode() + b"\0" + password, "sha256")


async def hash_password(password: str) -> str:
    """Return the argon2 hash to store for a password."""
    return await asyncio.to_thread(HASHER.hash, password)


def _matches(password: bytes, hashed: str | None) -> bool:
    try:
        return HASHER.verify(hashed if hashed is not None else _dummy_hash(), password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _dummy_hash() -> str:
    """Return the hash of a random password."""
    return HASHER.hash(secrets.token_bytes(32))
