"""Passwords: hashed with argon2 in a thread, for it takes a while, and remembered for a moment when they were right."""

import asyncio
import hmac
import secrets
import time
from collections import OrderedDict
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

HASHER = PasswordHasher()  # argon2id with RFC 9106's parameters for little memory: 64 MiB, 3 passes
REMEMBERED_FOR = 60.0  # seconds in which a password that was right needs no argon2 again
MOST_REMEMBERED = 1000
AT_ONCE = 2  # passwords being checked; each takes a core and HASHER's memory


class Passwords:
    """Checks passwords. What it remembers are digests under a key of its own, which never leaves the process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, float] = OrderedDict()  # digest → until when, by time.monotonic
        self.turn = asyncio.Semaphore(AT_ONCE)

    def remembers(self, password: bytes, hashed: str) -> bool:
        """Whether `password` was right for `hashed` a moment ago. A new password makes a new hash: none is outlived."""
        return self._remembered.get(self._digest(password, hashed), 0.0) > time.monotonic()

    async def verify(self, password: bytes, hashed: str | None) -> bool:
        """Return whether `password` is the one of `hashed`; never an empty one.

        Take as long when there is no hash, so that nobody can tell.
        """
        right = await asyncio.to_thread(_matches, password, hashed) and hashed is not None and password != b""
        if right and hashed is not None:
            digest = self._digest(password, hashed)
            self._remembered[digest] = time.monotonic() + REMEMBERED_FOR
            self._remembered.move_to_end(digest)
            if len(self._remembered) > MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return right

    def _digest(self, password: bytes, hashed: str) -> bytes:
        return hmac.digest(self._key, hashed.encode() + b"\0" + password, "sha256")


async def hash_password(password: str) -> str:
    """What is stored of a password."""
    return await asyncio.to_thread(HASHER.hash, password)


def _matches(password: bytes, hashed: str | None) -> bool:
    try:
        return HASHER.verify(hashed if hashed is not None else _nobodys(), password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    """The hash of a password that nobody knows."""
    return HASHER.hash(secrets.token_bytes(32))
