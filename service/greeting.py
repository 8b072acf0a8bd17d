"""Whether an OBProxy answers: a server that speaks MySQL's protocol greets whoever connects, before any login."""

import asyncio
from collections.abc import Collection

HEAD = 5  # bytes: length (3) and number (1) of the packet, then what it is
GREETING, REFUSAL = 10, 255  # of protocol version 10; an error such as "too many connections" is an answer, too
AT_A_TIME = 200  # connections that are being tried

Address = tuple[str, int]


async def answering(addresses: Collection[Address], seconds: float) -> set[Address]:
    """Those of `addresses` (host, SQL port) that greet within `seconds`; each of the others is asked once again."""
    turn = asyncio.Semaphore(AT_A_TIME)

    async def ask(address: Address) -> Address | None:
        async with turn:
            return address if await greets(address, seconds) else None

    found: set[Address] = set()
    for _ in range(2):  # a packet may be lost
        answers = await asyncio.gather(*(ask(address) for address in addresses if address not in found))
        found |= {address for address in answers if address is not None}
    return found


async def greets(address: Address, seconds: float) -> bool:
    """Whether what listens there greets as an OBProxy does; the connection is closed without a word."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(*address)
            try:
                head = await reader.readexactly(HEAD)
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
    return head[-1] in (GREETING, REFUSAL)
