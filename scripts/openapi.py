"""Writes the OpenAPI document of the API to docs/openapi.json."""

import json
from pathlib import Path

from service import __version__
from service.http.openapi import describe
from service.routes import RESOURCES

DOCUMENT = Path(__file__).parents[1] / "docs" / "openapi.json"


def text() -> str:
    """Return the OpenAPI document as indented JSON."""
    return json.dumps(describe(RESOURCES, __version__), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(text(), encoding="utf-8")
