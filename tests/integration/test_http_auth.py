"""HTTP Basic and signed requests over HTTP: authentication, brute-force protection, replay protection."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from starlette.applications import Starlette

from service.access import access_keys, login_throttling, users
from service.access.login_throttling import CLIENT_LIMIT, USER_LIMIT
from service.access.request_signatures import CLOCK_SKEW, VerifiedSignature
from service.access.roles import Role
from service.tasks.resources import Resources
from tests.integration.http_helpers import assert_failure, take_over, take_over_body
from tests.integration.signed_requests import Signing

INFO = "/api/v2/info"
TASKS = "/api/v2/tasks/instances"
TAKE_OVER = "/api/v2/obproxy/clusters/1/takeOver"
PASSWORD = "pässword:with colon"
NOW = "Fri, 03 Sep 2021 08:25:08 GMT"
REFUSED = {"code": 3000, "message": "Not logged in, or the credentials are wrong."}


@pytest.fixture
def opened(app: Starlette) -> Resources:
    resources: Resources = app.state.resources
    return resources


@pytest.fixture
async def http(app: Starlette, opened: Resources) -> httpx.AsyncClient:
    """Return an HTTP client without credentials; user anne exists."""
    await users.add(opened.database, "anne", PASSWORD, [Role.ADMIN])
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=False), base_url="http://service"
    )


@pytest.fixture
async def signing(opened: Resources, http: httpx.AsyncClient) -> Signing:
    """Return an access key of user anne."""
    key, secret = await access_keys.create(opened.database, opened.secrets, "anne")
    return Signing(key, secret.get_secret_value())


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers to failed logins do not wait."""
    monkeypatch.setattr(login_throttling, "DELAY_STEP", 0.0)


def basic(credentials: bytes) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(credentials).decode()}


RIGHT = basic(f"anne:{PASSWORD}".encode())


async def test_a_name_and_its_password_are_let_through(http: httpx.AsyncClient) -> None:
    for header in (RIGHT["Authorization"], RIGHT["Authorization"].replace("Basic ", "bAsIc  ")):
        assert (await http.get(INFO, headers={"Authorization": header})).status_code == 200


WRONG = (
    "Basic",
    "Basic ",
    "Basic !!!",
    "Basic YQ",
    RIGHT["Authorization"] + "=",
    RIGHT["Authorization"] + ", " + RIGHT["Authorization"],
    RIGHT["Authorization"].replace("Basic", "Bearer"),
    "Basic é",
    *(
        basic(credentials)["Authorization"]
        for credentials in (
            b"anne",
            b"anne:",
            b":" + PASSWORD.encode(),
            b"root:" + PASSWORD.encode(),
            b"Anne:" + PASSWORD.encode(),
            b"anne\0:" + PASSWORD.encode(),
            b"anne:" + PASSWORD.encode() + b"\n",
            b"anne:" + PASSWORD.encode() + b"\0",
            b"anne:" + PASSWORD.encode()[:-1],
            b"\xff\xfe:\x00",
            f"anne:{PASSWORD}".encode("latin-1"),
            b"anne:" * 10_000,
        )
    ),
)


@pytest.mark.parametrize("header", WRONG, ids=range(len(WRONG)))
async def test_invalid_credentials_are_rejected_without_a_hint(http: httpx.AsyncClient, header: str) -> None:
    answer = await http.get(INFO, headers=[(b"Authorization", header.encode("latin-1"))])

    assert answer.status_code == 401
    assert assert_failure(answer).error.model_dump(exclude_none=True) == REFUSED
    assert answer.headers["www-authenticate"].startswith("Basic realm=")


async def test_a_disabled_user_and_an_old_password_are_rejected_at_once(
    http: httpx.AsyncClient, opened: Resources, at_once: None
) -> None:
    assert (await http.get(INFO, headers=RIGHT)).status_code == 200
    await users.set_enabled(opened.database, "anne", enabled=False)
    assert (await http.get(INFO, headers=RIGHT)).status_code == 401
    await users.set_enabled(opened.database, "anne", enabled=True)
    assert (await http.get(INFO, headers=RIGHT)).status_code == 200
    await users.set_password(opened.database, "anne", "another one")
    assert (await http.get(INFO, headers=RIGHT)).status_code == 401
    assert (await http.get(INFO, headers=basic(b"anne:another one"))).status_code == 200


async def test_a_password_is_hashed_once_for_many_requests(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = 0

    class Counting:
        def verify(self, hashed_password: str, password: bytes) -> bool:
            nonlocal hashed
            hashed += 1
            return True

    monkeypatch.setattr("service.access.passwords.HASHER", Counting())

    answers = await asyncio.gather(*(http.get(INFO, headers=RIGHT) for _ in range(20)))

    assert [answer.status_code for answer in answers] == [200] * 20
    assert hashed <= 2  # as many as are checked at once


async def test_five_failures_block_the_user_wherever_it_is_tried(
    http: httpx.AsyncClient, opened: Resources, at_once: None
) -> None:
    for _ in range(USER_LIMIT.failures):
        assert (await http.get(INFO, headers=basic(b"anne:wrong"))).status_code == 401

    blocked = await http.get(INFO, headers=RIGHT)

    assert blocked.status_code == 401
    assert assert_failure(blocked).error.code == 3007
    assert (await http.get(INFO, headers=basic(b"nobody:wrong"))).json()["error"]["code"] == 3000
    await _age(opened, USER_LIMIT.blocked_for)
    assert (await http.get(INFO, headers=RIGHT)).status_code == 200


async def test_ten_failures_block_the_address_whatever_name_is_tried(http: httpx.AsyncClient, at_once: None) -> None:
    for number in range(CLIENT_LIMIT.failures):
        assert (await http.get(INFO, headers=basic(b"user%d:wrong" % number))).json()["error"]["code"] == 3000

    assert (await http.get(INFO, headers=RIGHT)).json()["error"]["code"] == 3007


async def test_an_address_is_unblocked_before_a_user(http: httpx.AsyncClient, opened: Resources, at_once: None) -> None:
    for number in range(CLIENT_LIMIT.failures):
        await http.get(INFO, headers=basic(b"user%d:wrong" % number))
    await _age(opened, CLIENT_LIMIT.blocked_for)

    assert (await http.get(INFO, headers=RIGHT)).status_code == 200


async def test_a_verified_password_works_while_its_user_is_blocked(http: httpx.AsyncClient, at_once: None) -> None:
    assert (await http.get(INFO, headers=RIGHT)).status_code == 200
    for _ in range(CLIENT_LIMIT.failures):
        await http.get(INFO, headers=basic(b"anne:wrong"))

    assert (await http.get(INFO, headers=RIGHT)).status_code == 200


async def test_a_success_resets_the_failures_of_the_user_but_not_of_the_address(
    http: httpx.AsyncClient, opened: Resources, at_once: None
) -> None:
    for _ in range(USER_LIMIT.failures - 1):
        await http.get(INFO, headers=basic(b"anne:wrong"))
    await http.get(INFO, headers=RIGHT)

    async with opened.database.transaction() as connection:
        left = await (await connection.execute("SELECT kind, failures FROM login_failure")).fetchall()
    assert left == [{"kind": "client", "failures": USER_LIMIT.failures - 1}]


async def test_many_guesses_at_once_are_no_more_than_one_after_the_other(
    http: httpx.AsyncClient, at_once: None
) -> None:
    answers = await asyncio.gather(*(http.get(INFO, headers=basic(b"anne:%d" % n)) for n in range(40)))

    codes = [answer.json()["error"]["code"] for answer in answers]
    assert codes.count(3000) <= USER_LIMIT.failures + 1  # two are checked at the same time
    assert set(codes) == {3000, 3007}


async def test_each_failure_makes_the_next_one_wait_longer(opened: Resources) -> None:
    attempt = login_throttling.Attempt(user="anne", client="192.0.2.1")

    delays = [await login_throttling.record_failure(opened.database, attempt) for _ in range(15)]

    assert delays[:3] == [0.0, login_throttling.DELAY_STEP, 2 * login_throttling.DELAY_STEP]
    assert delays == sorted(delays)
    assert delays[-1] == login_throttling.DELAY_LIMIT


async def test_a_signed_request_is_let_through_with_its_body(http: httpx.AsyncClient, signing: Signing) -> None:
    for _ in range(2):  # a poller signs the same second twice
        listed = await http.get(TASKS, params={"name": "Install obproxy", "sort": "id,desc"}, auth=signing)
        assert listed.status_code == 200

    taken = await http.post(TAKE_OVER, json=take_over_body(1), auth=signing)

    assert taken.json()["data"]["contents"][0]["creator"] == "anne"


def other_secret(signing: Signing) -> Signing:
    return Signing(signing.key, "0" * 32)


def other_key(signing: Signing) -> Signing:
    return Signing("0" * 16, signing.secret)


def no_key(signing: Signing) -> Signing:
    return Signing("x", signing.secret)


def two_spaces(signing: Signing) -> Signing:
    return Signing(" " + signing.key, signing.secret)


def too_old(signing: Signing) -> Signing:
    return Signing(signing.key, signing.secret, off=timedelta(minutes=-15, seconds=-5))


def too_early(signing: Signing) -> Signing:
    return Signing(signing.key, signing.secret, off=timedelta(minutes=15, seconds=5))


@pytest.mark.parametrize("change", [other_secret, other_key, no_key, two_spaces, too_old, too_early])
async def test_a_wrong_signature_is_rejected_without_a_hint(
    http: httpx.AsyncClient, signing: Signing, change: object
) -> None:
    assert callable(change)
    for method in ("GET", "POST"):
        answer = await http.request(method, TASKS, auth=change(signing))

        assert answer.status_code == 401
        assert assert_failure(answer).error.model_dump(exclude_none=True) == REFUSED


async def test_a_changed_body_is_rejected(http: httpx.AsyncClient, signing: Signing) -> None:
    request = http.build_request("POST", TAKE_OVER, json=take_over_body(1))
    signed = next(signing.auth_flow(request))
    changed = http.build_request("POST", TAKE_OVER, json=take_over_body(2), headers=signed.headers)

    assert (await http.send(changed)).status_code == 401
    assert (await http.send(signed)).status_code == 200


async def test_a_signed_change_is_accepted_once(http: httpx.AsyncClient, signing: Signing, opened: Resources) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=14), usegmt=True)
    same = Signing(signing.key, signing.secret, date=date)

    answers = await asyncio.gather(*(http.post(TAKE_OVER, json=take_over_body(1), auth=same) for _ in range(10)))

    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 9
    (error,) = {str(assert_failure(answer).error.model_dump()) for answer in answers if answer.status_code == 401}
    assert "3099" in error and "This signature was used before. Sign the request again" in error
    again = await http.post(TAKE_OVER, json=take_over_body(1), auth=signing)
    assert again.status_code == 409  # another second, another signature: let through, and then the host is busy
    async with opened.database.transaction() as connection:
        kept = await (await connection.execute("SELECT expires - now() AS left FROM used_signature")).fetchall()
    # As long as its date would be let through: a date ahead of the clock makes that longer than 15 minutes.
    assert max(row["left"] for row in kept) > timedelta(minutes=28)


async def test_a_repeated_signature_with_an_idempotency_key_gets_the_stored_response(
    http: httpx.AsyncClient, signing: Signing
) -> None:
    same = Signing(signing.key, signing.secret, date=format_datetime(datetime.now(UTC), usegmt=True))
    keyed = {"Idempotency-Key": "a-key"}

    async def take_over_once(host_id: int, headers: dict[str, str]) -> httpx.Response:
        return await http.post(TAKE_OVER, json=take_over_body(host_id), headers=headers, auth=same)

    first = await take_over_once(1, keyed)
    again = await asyncio.gather(*(take_over_once(1, keyed) for _ in range(5)))
    assert {answer.status_code for answer in (first, *again)} == {200}
    assert {str(answer.json()["data"]) for answer in again} == {str(first.json()["data"])}

    # The signature does not cover the header: a captured request must not be done again under another key.
    assert (await take_over_once(2, {})).status_code == 200
    for headers in ({}, {"Idempotency-Key": "another"}):
        repeated = await take_over_once(2, headers)
        assert (repeated.status_code, assert_failure(repeated).error.code) == (401, 3099)


async def test_an_idempotency_key_repeats_no_other_operation(http: httpx.AsyncClient, signing: Signing) -> None:
    (task,) = (await http.post(TAKE_OVER, json=take_over_body(1), auth=signing)).json()["data"]["contents"]
    same = Signing(signing.key, signing.secret, date=format_datetime(datetime.now(UTC), usegmt=True))
    for path in (f"{TASKS}/{task['id']}/downloadDiagnosis", f"/tasks/{task['id']}/retry"):
        first, second = [await http.post(path, headers={"Idempotency-Key": "k"}, auth=same) for _ in range(2)]
        assert first.status_code != 401
        assert (second.status_code, assert_failure(second).error.code) == (401, 3099)


async def test_old_signatures_are_deleted(http: httpx.AsyncClient, signing: Signing, opened: Resources) -> None:
    await http.post(TASKS, auth=signing)
    async with opened.database.transaction() as connection:
        await connection.execute("UPDATE used_signature SET expires = now() - interval '2 minutes'")
    await http.post(TASKS + "/", auth=signing)

    async with opened.database.transaction() as connection:
        assert len(await (await connection.execute("SELECT FROM used_signature")).fetchall()) == 1


async def test_a_signature_is_kept_when_the_clock_of_the_database_is_ahead(signing: Signing, opened: Resources) -> None:
    now = datetime.now(UTC) - timedelta(hours=1)
    first, second = (VerifiedSignature(digest=digest, expires=now + CLOCK_SKEW) for digest in (b"1", b"2"))

    uses = [await access_keys.use_signature(opened.database, signing.key, one, now) for one in (first, second, first)]
    assert uses == [True, True, False]


async def test_a_too_large_body_is_rejected_before_authentication(http: httpx.AsyncClient) -> None:
    stranger = Signing("0" * 16, "0" * 32)

    answer = await http.post(TAKE_OVER, content=b" " * (1024 * 1024 + 1), auth=stranger)

    assert answer.status_code == 413


async def test_the_creator_is_the_user_with_its_id(
    client: httpx.AsyncClient, http: httpx.AsyncClient, signing: Signing, opened: Resources
) -> None:
    anne = await users.find(opened.database, "anne")
    assert anne
    [mine] = await take_over(client, 1)
    [hers] = (await http.post(TAKE_OVER, json=take_over_body(2), auth=signing)).json()["data"]["contents"]

    documents = [(await client.get(f"{TASKS}/{task['id']}")).json()["data"] for task in (mine, hers)]

    assert [document["creator"] for document in documents] == [
        {"id": 100, "name": "admin"},
        {"id": anne.id, "name": "anne"},
    ]


async def _age(opened: Resources, by: timedelta) -> None:
    """Move all failures into the past."""
    async with opened.database.transaction() as connection:
        await connection.execute("UPDATE login_failure SET last = last - %s - interval '1 second'", (by,))
