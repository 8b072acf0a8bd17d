"""The bytes of a request's body, never more than allowed, for whoever needs them before it is parsed."""

from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from service.errors import BodyTooLarge

MOST_FIELDS = 5000  # of one form


async def read(headers: Headers, receive: Receive, limit: int) -> bytes:
    """The whole body; raises BodyTooLarge, at best before it comes, and ClientDisconnect.

    What is announced is only a hint: more than `limit` bytes are given up as soon as they have come.
    """
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise BodyTooLarge(limit=limit)
    content = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        content += message.get("body", b"")
        if len(content) > limit:
            raise BodyTooLarge(limit=limit)
        more = message.get("more_body", False)
    return bytes(content)


def again(content: bytes, receive: Receive) -> Receive:
    """What gives a body that has been read already once more, and then what the caller does."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": content, "more_body": False}

    return replay


def form(content: bytes) -> dict[str, str]:
    """The fields of an HTML form's body; of a field that is there twice, the last. What is none has no fields."""
    try:
        return dict(parse_qsl(content.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS))
    except ValueError:
        return {}
