"""Passwords: the cost of the real hasher, and the cache of correct ones."""

import asyncio
import time
from typing import Literal

import pytest
from argon2 import PasswordHasher

from service.access import passwords
from service.access.login_throttling import client_network
from service.access.passwords import HASHER, PasswordVerifier, hash_password


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> PasswordHasher:
    """One that takes no time."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "HASHER", cheap)
    return cheap


def test_the_hasher_is_as_rfc_9106_wants_it() -> None:
    assert (HASHER.type.name, HASHER.memory_cost, HASHER.time_cost) == ("ID", 64 * 1024, 3)


async def test_a_password_is_right_or_not(hasher: PasswordHasher) -> None:
    hashed = await hash_password("pässword:with colon")
    checking = PasswordVerifier()

    assert await checking.verify("pässword:with colon".encode(), hashed)
    for wrong in (b"", b"p", "pässword:with colon".encode("latin-1"), b"\xff\x00", b"x" * 100_000):
        assert not await checking.verify(wrong, hashed)
    assert not await checking.verify(b"x", "no hash")


async def test_an_empty_password_is_never_right(hasher: PasswordHasher) -> None:
    hashed, checking = await hash_password(""), PasswordVerifier()

    assert not await checking.verify(b"", hashed)
    assert not checking.is_cached(b"", hashed)


async def test_nobodys_password_is_never_right(hasher: PasswordHasher) -> None:
    assert not await PasswordVerifier().verify(b"", None)


@pytest.mark.parametrize("known", [True, False])
async def test_an_existing_and_a_missing_user_cost_one_verification_each(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    hashed = await hash_password("right") if known else None
    passwords._dummy_hash.cache_clear()  # the one of the cheap hasher
    checked: list[str] = []

    class Recording(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            checked.append(str(hash))
            return hasher.verify(hash, password)

    monkeypatch.setattr(passwords, "HASHER", Recording(time_cost=1, memory_cost=8, parallelism=1))
    assert not await PasswordVerifier().verify(b"wrong", hashed)
    passwords._dummy_hash.cache_clear()

    assert [entry.split("$")[1:4] for entry in checked] == [["argon2id", "v=19", "m=8,t=1,p=1"]]


async def test_a_verified_password_is_cached_per_hash_for_a_while(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    checking = PasswordVerifier()
    hashed, other = await hash_password("right"), await hash_password("right")
    assert not checking.is_cached(b"right", hashed)

    await checking.verify(b"right", hashed)
    await checking.verify(b"wrong", hashed)

    assert checking.is_cached(b"right", hashed)
    assert not checking.is_cached(b"wrong", hashed)
    assert not checking.is_cached(b"right", other)
    assert not PasswordVerifier().is_cached(b"right", hashed)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + passwords.CACHE_SECONDS + 1)
    assert not checking.is_cached(b"right", hashed)


async def test_the_cache_is_limited(hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "CACHE_SIZE", 2)
    checking = PasswordVerifier()
    hashes = [await hash_password("right") for _ in range(3)]

    for hashed in hashes:
        await checking.verify(b"right", hashed)

    assert [checking.is_cached(b"right", hashed) for hashed in hashes] == [False, True, True]


async def test_checking_leaves_the_event_loop_alone() -> None:
    hashed = await hash_password("right")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    await PasswordVerifier().verify(b"right", hashed)
    ticking.cancel()

    assert ticks > 10


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_which_address_counts(address: str, counted: str) -> None:
    assert client_network(address) == counted
