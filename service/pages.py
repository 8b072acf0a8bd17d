"""Pages for people. The API's: made on the server from its description, without a script or anything from outside.

Not Swagger UI from a package: that is more than a megabyte of scripts, in wheels that are not its makers' own.
"""

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from service.types import JSON

TEMPLATES = Path(__file__).parent / "templates" / "pages"
DOCS_STYLE = (TEMPLATES / "docs.css").read_text(encoding="utf-8")


def docs(description: JSON) -> str:
    """The page that shows an OpenAPI description."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["readable"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.get_template("docs.html").render(description)
