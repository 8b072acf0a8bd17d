"""Who may do what: OCP's roles, each a list of expressions OBJECT:ID:ACTION (docs/reference/ocp-api.md 2.7)."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

ANYBODY = ""
"""What an operation needs that is open to the whole world."""

ANY_USER = "login"
"""What an operation needs that every user may do, whatever the role."""

EVERYTHING = "**"

TAKE_OVER = "OBPROXY:*:UPDATE"
READ_OBPROXY = "OBPROXY:*:READ"
READ_HOST = "HOST:*:READ"
READ_TASK = "TASK:*:READ"
WORK_ON_TASK = "TASK:*:UPDATE"
READ_AUDIT = "AUDIT:*:READ"


class Role(StrEnum):
    """OCP's names. TASK_VIEWER and HOST_VIEWER are asked for by its API pages, but are not in its table of roles."""

    ADMIN = "ADMIN"
    CLUSTER_MANAGER = "CLUSTER_MANAGER"
    OBPROXY_MANAGER = "OBPROXY_MANAGER"
    OBPROXY_VIEWER = "OBPROXY_VIEWER"
    HOST_MANAGER = "HOST_MANAGER"
    HOST_VIEWER = "HOST_VIEWER"
    TASK_MANAGER = "TASK_MANAGER"
    TASK_VIEWER = "TASK_VIEWER"


GRANTED: Mapping[Role, tuple[str, ...]] = {
    Role.ADMIN: (EVERYTHING,),
    Role.CLUSTER_MANAGER: ("TASK:*:*", "OBPROXY:*:*"),
    # It may start a takeover, but not read its task instance unless it has a TASK role as well: so it is in OCP.
    Role.OBPROXY_MANAGER: ("OBPROXY:*:*", "PACKAGE:*:*", "CLUSTER:*:READ", "HOST:*:READ"),
    Role.OBPROXY_VIEWER: ("OBPROXY:*:READ", "PACKAGE:*:READ", "CLUSTER:*:READ", "HOST:*:READ"),
    Role.HOST_MANAGER: ("HOST:*:*", "PACKAGE:*:*"),
    Role.HOST_VIEWER: ("HOST:*:READ",),
    Role.TASK_MANAGER: ("TASK:*:*",),
    Role.TASK_VIEWER: ("TASK:*:READ",),
}


def permitted(roles: Iterable[Role], needed: str) -> bool:
    """Whether a user with `roles` may do what needs `needed`: an expression, or one of the words above."""
    if needed in (ANYBODY, ANY_USER):
        return True
    return any(_covers(expression, needed) for role in roles for expression in GRANTED[role])


def _covers(granted: str, needed: str) -> bool:
    pairs = zip(granted.split(":"), needed.split(":"), strict=False)
    return granted == EVERYTHING or all(left in ("*", right) for left, right in pairs)


def only_reads(needed: str) -> bool:
    """Return whether an operation that needs this permission changes nothing, whatever its HTTP method."""
    return needed.endswith(":READ")
