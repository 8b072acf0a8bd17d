"""Addresses of pages: those that a form or link names, lists with another query, and notes about what was done."""

import hmac
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import HTTPConnection, Request

from service.http.authentication import SAFE_METHODS

HOME = "/"
LOCAL_PATH = re.compile(r"/(?!/)[^\\\x00-\x20\x7f]*")
NOTE = "done"  # the query parameter with a note
NOTE_PATTERN = re.compile("(?P<operation>[a-z]+)-(?P<ids>[0-9,]*)-(?P<time>[0-9]{1,12})-(?P<signature>[0-9a-f]{64})")
NOTE_SECONDS = 60  # that a note is shown after it was made


@dataclass(frozen=True, kw_only=True)
class Note:
    """The operation that was executed just now, and the task instances that the page names with it."""

    operation: str
    task_ids: Sequence[int] = ()


def local_path(target: str) -> str:
    """Return `target` if it is a path of this service, else `/`; no open redirect (`//other.site`, `/\\other.site`)."""
    return target if LOCAL_PATH.fullmatch(target) else HOME


def with_query(request: Request, path: str = "", **changes: object) -> str:
    """Return the address of this page, or of `path`, with changes to its query.

    The page number is reset unless it is changed, and the note of an operation that was executed is left out.
    """
    # A list of values may be a repeated parameter.
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in ("page", NOTE, *changes)]
    query = [(name, value) for name, value in (*kept, *changes.items()) if value not in ("", None)]
    return (path or str(request.scope["path"])) + (f"?{urlencode(query)}" if query else "")


def without_note(request: HTTPConnection) -> str:
    """Return the address of this page without its note, which a link to it must not show again.

    The start page stands for the response to a form, whose address may accept no GET.
    """
    if request.scope["method"] not in SAFE_METHODS:
        return HOME
    query = request.scope["query_string"].decode("latin-1")
    kept = "&".join(part for part in query.split("&") if not part.startswith(f"{NOTE}="))
    return str(request.scope["path"]) + (f"?{kept}" if kept else "")


def with_note(request: HTTPConnection, address: str, note: Note) -> str:
    """Return the address with a note, which only this service can make: it is signed for the session and the path."""
    if not request.scope.get("csrf_token"):
        return address  # without a session no page can show it
    path, _, query = address.partition("?")
    ids = ",".join(map(str, note.task_ids))
    content = f"{note.operation}-{ids}-{int(time.time())}"
    added = urlencode({NOTE: f"{content}-{_signature(request, path, content)}"})
    return f"{path}?{query}&{added}" if query else f"{path}?{added}"


def note_of(request: HTTPConnection) -> Note | None:
    """Return the note in the address of this page; None without one, and for one that is forged or too old."""
    found = NOTE_PATTERN.fullmatch(request.query_params.get(NOTE, ""))
    if not found or not request.scope.get("csrf_token"):
        return None
    content = f"{found['operation']}-{found['ids']}-{found['time']}"
    if not hmac.compare_digest(_signature(request, request.scope["path"], content), found["signature"]):
        return None
    if time.time() - int(found["time"]) > NOTE_SECONDS:
        return None
    ids = [int(number) for number in found["ids"].split(",") if number]
    return Note(operation=found["operation"], task_ids=ids)


def _signature(request: HTTPConnection, path: str, content: str) -> str:
    key = f"note {request.scope['csrf_token']}".encode()
    return hmac.new(key, f"{path} {content}".encode(), "sha256").hexdigest()
