"""Renders the HTML pages from templates, in the language and theme of the browser.

Pages have no inline script or style and load nothing from other sites; the Content-Security-Policy forbids both. The
API page is a template instead of Swagger UI, whose packages contain more than 1 MB of third-party scripts.
"""

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from babel import Locale
from babel.dates import format_timedelta
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, Response

from service.access.roles import permitted
from service.access.users import User
from service.http import languages
from service.model.types import JSON
from service.pages import addresses, static_files

TEMPLATES = Path(__file__).parent / "templates"
THEMES = ("auto", "light", "dark")
LANGUAGE_COOKIE, THEME_COOKIE = "language", "theme"


def render(request: HTTPConnection, template: str, *, status: int = 200, **values: object) -> Response:
    """Render a page in the language and theme of the browser.

    Besides `values`, templates can use: `user` (None = not logged in), `may(permission)`, `csrf_token`, `path`,
    `here` (the canonical address, or path and query), `note` (the operation that was executed just now, or None),
    `language`, `theme`, `now`. The address `here` has no note.
    """
    language = language_of(request)
    user: User | None = request.scope.get("user")
    text = (
        environment(language)
        .get_template(template)
        .render(
            user=user,
            may=lambda needed: user is not None and permitted(user.roles, needed),
            csrf_token=request.scope.get("csrf_token", ""),
            path=request.scope["path"],
            here=values.get("canonical_address") or addresses.without_note(request),
            note=addresses.note_of(request),
            language=language,
            theme=theme_of(request),
            now=datetime.now(UTC),
            **values,
        )
    )
    return HTMLResponse(text, status, {"Content-Language": language, "Vary": "Accept-Language, Cookie"})


def language_of(request: HTTPConnection) -> str:
    """Return the language of the cookie, else the best one of Accept-Language."""
    return languages.choose(request.headers.get("accept-language", ""), request.cookies.get(LANGUAGE_COOKIE, ""))


def theme_of(request: HTTPConnection) -> str:
    """Return the theme of the cookie; `auto` = the theme of the browser."""
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in THEMES else THEMES[0]


@cache
def environment(language: str) -> Environment:
    """Return the Jinja environment for a language."""
    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    jinja.install_gettext_translations(languages.translations(language), newstyle=True)  # type: ignore[attr-defined]
    jinja.filters["compact_json"] = lambda value: json.dumps(value, ensure_ascii=False)
    jinja.filters["rule_text"] = languages.rule_translator(language)
    locale = Locale.parse(language, sep="-")
    jinja.filters["ago"] = lambda passed: format_timedelta(-passed, add_direction=True, locale=locale)
    jinja.globals.update(languages=languages.LANGUAGES, static=static_files.versioned)
    return jinja


def render_openapi(description: JSON, theme: str) -> str:
    """Render the page that shows an OpenAPI document."""
    return environment(languages.ENGLISH).get_template("docs.html").render(description, theme=theme)
