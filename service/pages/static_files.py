"""Static files of the pages: scripts, styles and images, served with a version in their address."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from service.model.errors import NoSuchPath

DIRECTORY = Path(__file__).parent / "static"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, kw_only=True)
class StaticFile:
    """A script, style or image. `version` is a hash of the content, so that browsers can cache it without a limit."""

    content: bytes
    media_type: str
    version: str


def _load() -> Mapping[str, StaticFile]:
    return {
        f"/static/{path.name}": StaticFile(
            content=path.read_bytes(),
            media_type=MEDIA_TYPES[path.suffix],
            version=hashlib.sha256(path.read_bytes()).hexdigest()[:12],
        )
        for path in sorted(DIRECTORY.iterdir())
        if path.suffix in MEDIA_TYPES
    }


FILES = _load()
"""Static files by path. They need no login, because the login page uses them."""


async def serve(request: Request) -> Response:
    """Serve GET /static/{name}."""
    file = FILES.get(request.scope["path"])
    if file is None:
        raise NoSuchPath(path=request.scope["path"])
    # Scripts import each other without a version, so only a request with the current version may be cached.
    current = request.query_params.get("v") == file.version
    caching = "public, max-age=31536000, immutable" if current else "no-cache"
    headers = {"Cache-Control": caching, "ETag": f'"{file.version}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


def versioned(name: str) -> str:
    """Return the address of a static file with its version."""
    path = f"/static/{name}"
    return f"{path}?v={FILES[path].version}"
