"""Sessions of a browser on the pages: login, and the CSRF token of its forms."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette

from service.access import users
from service.access.roles import Role

PAGE = {"Accept": "text/html,application/xhtml+xml"}
TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


@asynccontextmanager
async def without_session(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Open a browser."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service", headers=PAGE) as http:
        yield http


@asynccontextmanager
async def logged_in(app: Starlette, role: Role) -> AsyncIterator[httpx.AsyncClient]:
    """Open a browser in which the new user anne is logged in with a role."""
    await users.add(app.state.resources.database, "anne", "long enough", [role])
    async with without_session(app) as http:
        await log_in(http, "long enough")
        yield http


async def log_in(browser: httpx.AsyncClient, password: str, name: str = "anne", **fields: str) -> httpx.Response:
    return await browser.post("/login", data={"name": name, "password": password, **fields})


async def form_token(browser: httpx.AsyncClient, page: str = "/tasks") -> str:
    """Return the CSRF token of the forms of a page."""
    found = TOKEN.search((await browser.get(page)).text)
    assert found
    return found[1]
