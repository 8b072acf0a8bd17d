"""ALTER PROXYCONFIG SET name = value.

See docs/reference/obproxy.md 4.6, docs/reference/obproxy-observed.md "ALTER PROXYCONFIG".
"""

import re

from . import answers, text
from .answers import Answer
from .parameters import PASSWORDS, InvalidValue
from .proxy import Proxy
from .store import StoreError
from .wire import sha1_hex

_ALTER = re.compile(
    r"alter\s+proxyconfig\s+set\s+"
    r"(?P<name>[a-z0-9_]+|`[a-z0-9_]+`|\"[a-z0-9_]+\")\s*=\s*"
    r"(?P<value>'[^'\"\\]*'|\"[^'\"\\]*\"|-?[a-z0-9$_#]+|)",
    re.IGNORECASE,
)
_LARGEST_V1_ID = 255


def alter(proxy: Proxy, statement: str) -> Answer:
    """Set, store and show the value at once; a parameter that needs a restart takes effect only after it."""
    match = _ALTER.fullmatch(statement)
    if not match:
        return answers.BAD_COMMAND
    name, value = text.unquote(match["name"]).lower(), text.unquote(match["value"])
    if len(value) > text.VALUE_LIMIT:
        return answers.TOO_LONG
    if not proxy.settings.knows(name):
        return answers.UNKNOWN_CONFIG
    if error := _check_parameter(proxy, name, value):
        return error
    former = proxy.settings[name]
    try:
        proxy.settings.put(name, sha1_hex(value) if name in PASSWORDS else value)
    except InvalidValue:
        return answers.INVALID_CONFIG
    try:
        if proxy.simulation.is_on("read_only"):
            raise StoreError("read only by order of the simulation")
        proxy.store.save({name: proxy.settings[name]})
    except StoreError:
        proxy.settings.put_unchecked(name, former)
        return answers.INTERNAL_ERROR
    return answers.Ok()


def _check_parameter(proxy: Proxy, name: str, value: str) -> answers.Error | None:
    """Check the rules of single parameters."""
    if name == "app_name":
        return answers.NOT_SUPPORTED
    if proxy.simulation.refuses(name):
        return answers.INVALID_CONFIG
    if name == "proxy_id" and not proxy.release.legacy:
        is_large = value.isdecimal() and int(value) > _LARGEST_V1_ID
        return answers.PROXY_ID_TOO_LARGE if is_large and proxy.settings["client_session_id_version"] == "1" else None
    if name == "proxy_service_mode" and value == "server" and proxy.settings["proxy_id"] == "0":
        return answers.INTERNAL_ERROR
    return None
