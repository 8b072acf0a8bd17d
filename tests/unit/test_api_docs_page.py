"""The page /docs: it has the whole description, loads nothing from elsewhere and runs no script."""

import re
from html.parser import HTMLParser

import pytest

from service.http.openapi import describe
from service.model.types import JSON
from service.pages import rendering
from service.routes import OPERATIONS


class Seen(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.inline: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attributes:
            if name in ("href", "src", "action"):
                self.links.add(value or "")
            if name == "id":
                self.ids.add(value or "")
            if name == "style" or name.startswith("on"):
                self.inline.add(name)


@pytest.fixture(scope="module")
def description() -> JSON:
    return describe(OPERATIONS, "1.2.3")


@pytest.fixture(scope="module")
def seen(description: JSON) -> Seen:
    parser = Seen()
    parser.feed(rendering.docs(description, "auto"))
    return parser


def test_nothing_comes_from_elsewhere_and_nothing_runs(seen: Seen) -> None:
    files = {path for path in rendering.STATIC_FILES if path.endswith(("/base.css", "/docs.css", "/logo.svg"))}
    paths = {link.partition("?")[0] for link in seen.links if not link.startswith("#")}
    assert paths == {"/", "/openapi.json", *files}
    assert not seen.tags & {"script", "style", "iframe", "object", "img", "form"}
    assert not seen.inline
    for path in files - {"/static/logo.svg"}:
        style = rendering.STATIC_FILES[path].content.decode()
        assert "url(" not in style and "@import" not in style


def test_every_operation_and_shape_is_there_and_every_link_leads_there(seen: Seen, description: JSON) -> None:
    operations = {operation.endpoint.__name__ for operation in OPERATIONS}

    assert seen.ids == operations | set(description["components"]["schemas"]) | {"main"}
    assert {link[1:] for link in seen.links if link.startswith("#")} <= seen.ids


def test_markup_in_the_description_is_text(description: JSON) -> None:
    shown = rendering.docs({**description, "info": {"title": "<script>alert(1)</script>", "version": "1"}}, "auto")

    assert "<script" not in shown
    assert re.search(r"<title>&lt;script&gt;", shown)
