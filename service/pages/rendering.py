"""Pages for people, made on the server: one look, one way to render, and the files that a browser gets with them.

Nothing on a page is inline or comes from elsewhere: the Content-Security-Policy would not let it through.
The API's own page is not Swagger UI from a package: that is more than a megabyte of scripts, in wheels that are not
its makers' own.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response

from service import __version__
from service.access.roles import permitted
from service.access.users import User
from service.http import languages
from service.http.authentication import FORM_TOKEN
from service.model.errors import NoSuchPath
from service.model.types import JSON

TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
THEMES = ("auto", "light", "dark")
LANGUAGE_COOKIE, THEME_COOKIE = "language", "theme"


@dataclass(frozen=True, kw_only=True)
class StaticFile:
    """A script, style or picture. `version` changes with its content, so a browser may keep it for ever."""

    content: bytes
    media_type: str
    version: str


def _load_static() -> Mapping[str, StaticFile]:
    return {
        f"/static/{path.name}": StaticFile(
            content=path.read_bytes(),
            media_type=MEDIA_TYPES[path.suffix],
            version=hashlib.sha256(path.read_bytes()).hexdigest()[:12],
        )
        for path in sorted(STATIC.iterdir())
        if path.suffix in MEDIA_TYPES
    }


STATIC_FILES = _load_static()
"""By their paths; they are for everybody, the login page needs them."""


async def static(request: Request) -> Response:
    """GET /static/{name}"""
    file = STATIC_FILES.get(request.scope["path"])
    if file is None:
        raise NoSuchPath(path=request.scope["path"])
    # Scripts import each other without a version, so only a request that names the current one may be kept.
    current = request.query_params.get("v") == file.version
    kept = "public, max-age=31536000, immutable" if current else "no-cache"
    headers = {"Cache-Control": kept, "ETag": f'"{file.version}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


def render(request: HTTPConnection, template: str, *, status: int = 200, **values: object) -> Response:
    """A page in the reader's language and theme.

    Besides `values` templates know: `user` (None = nobody), `may(permission)`, `form_token`, `here` (path and query),
    `language`, `theme`, `now`.
    """
    language = language_of(request)
    user: User | None = request.scope.get("user")
    query = request.scope["query_string"].decode("latin-1")
    text = (
        environment(language)
        .get_template(template)
        .render(
            user=user,
            may=lambda needed: user is not None and permitted(user.roles, needed),
            form_token=request.scope.get(FORM_TOKEN, ""),
            path=request.scope["path"],
            here=request.scope["path"] + (f"?{query}" if query else ""),
            language=language,
            theme=theme_of(request),
            now=datetime.now(UTC),
            **values,
        )
    )
    return HTMLResponse(text, status, {"Content-Language": language, "Vary": "Accept-Language, Cookie"})


def language_of(request: HTTPConnection) -> str:
    """What the reader has chosen, else what the browser asks for."""
    return languages.choose(request.headers.get("accept-language", ""), request.cookies.get(LANGUAGE_COOKIE, ""))


def theme_of(request: HTTPConnection) -> str:
    """What the reader has chosen; `auto` = as the browser says."""
    wanted = request.cookies.get(THEME_COOKIE, "")
    return wanted if wanted in THEMES else THEMES[0]


@cache
def environment(language: str) -> Environment:
    """What templates in one of the languages are rendered with."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_translations(languages.translations(language), newstyle=True)  # type: ignore[attr-defined]
    made.filters["readable"] = lambda value: json.dumps(value, ensure_ascii=False)
    made.globals.update(languages=languages.LANGUAGES, themes=THEMES, static=_versioned, service_version=__version__)
    return made


def _versioned(name: str) -> str:
    path = f"/static/{name}"
    return f"{path}?v={STATIC_FILES[path].version}"


def docs(description: JSON, theme: str) -> str:
    """The page that shows an OpenAPI description."""
    return environment(languages.ENGLISH).get_template("docs.html").render(description, theme=theme)
