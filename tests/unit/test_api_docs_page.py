"""The API page: it is complete, and it loads no script and nothing from other sites."""

import re
from html.parser import HTMLParser

import pytest

from service.http.openapi import describe
from service.model.types import JSON
from service.pages import rendering, static_files
from service.routes import OPERATIONS, RESOURCES


class PageContent(HTMLParser):
    """Collects the tags, links and ids of a page."""

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
    return describe(RESOURCES, "1.2.3")


@pytest.fixture(scope="module")
def content(description: JSON) -> PageContent:
    parser = PageContent()
    parser.feed(rendering.render_openapi(description, "auto"))
    return parser


def test_the_page_loads_no_script_and_nothing_from_other_sites(content: PageContent) -> None:
    files = {path for path in static_files.FILES if path.endswith(("/base.css", "/docs.css", "/logo.svg"))}
    paths = {link.partition("?")[0] for link in content.links if not link.startswith("#")}
    assert paths == {"/", "/openapi.json", *files}
    assert not content.tags & {"script", "style", "iframe", "object", "img", "form"}
    assert not content.inline
    for path in files - {"/static/logo.svg"}:
        style = static_files.FILES[path].content.decode()
        assert "url(" not in style and "@import" not in style


def test_the_page_has_every_operation_and_schema_and_no_broken_link(content: PageContent, description: JSON) -> None:
    operations = {operation.endpoint.__name__ for operation in OPERATIONS}

    assert content.ids == operations | set(description["components"]["schemas"]) | {"main"}
    assert {link[1:] for link in content.links if link.startswith("#")} <= content.ids


def test_markup_in_the_openapi_document_is_escaped(description: JSON) -> None:
    shown = rendering.render_openapi(
        {**description, "info": {"title": "<script>alert(1)</script>", "version": "1"}}, "auto"
    )

    assert "<script" not in shown
    assert re.search(r"<title>&lt;script&gt;", shown)
