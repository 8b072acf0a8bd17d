"""OCP's roles and their permissions, which are expressions OBJECT:ID:ACTION (docs/reference/ocp-api.md 2.7)."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

PUBLIC = ""
"""Permission of operations that need no authentication."""

ANY_USER = "login"
"""Permission of operations that every authenticated user has, whatever the role."""

ALL_PERMISSIONS = "**"

UPDATE_OBPROXY = "OBPROXY:*:UPDATE"
READ_OBPROXY = "OBPROXY:*:READ"
READ_HOST = "HOST:*:READ"
READ_TASK = "TASK:*:READ"
UPDATE_TASK = "TASK:*:UPDATE"
READ_AUDIT = "AUDIT:*:READ"


class Role(StrEnum):
    """OCP's role names. Its API pages mention TASK_VIEWER and HOST_VIEWER; its table of roles does not."""

    ADMIN = "ADMIN"
    CLUSTER_MANAGER = "CLUSTER_MANAGER"
    OBPROXY_MANAGER = "OBPROXY_MANAGER"
    OBPROXY_VIEWER = "OBPROXY_VIEWER"
    HOST_MANAGER = "HOST_MANAGER"
    HOST_VIEWER = "HOST_VIEWER"
    TASK_MANAGER = "TASK_MANAGER"
    TASK_VIEWER = "TASK_VIEWER"


PERMISSIONS: Mapping[Role, tuple[str, ...]] = {
    Role.ADMIN: (ALL_PERMISSIONS,),
    Role.CLUSTER_MANAGER: ("TASK:*:*", "OBPROXY:*:*"),
    # As in OCP: it may start a takeover, and needs a TASK role as well to read the task instance.
    Role.OBPROXY_MANAGER: ("OBPROXY:*:*", "PACKAGE:*:*", "CLUSTER:*:READ", "HOST:*:READ"),
    Role.OBPROXY_VIEWER: ("OBPROXY:*:READ", "PACKAGE:*:READ", "CLUSTER:*:READ", "HOST:*:READ"),
    Role.HOST_MANAGER: ("HOST:*:*", "PACKAGE:*:*"),
    Role.HOST_VIEWER: ("HOST:*:READ",),
    Role.TASK_MANAGER: ("TASK:*:*",),
    Role.TASK_VIEWER: ("TASK:*:READ",),
}


def permitted(roles: Iterable[Role], permission: str) -> bool:
    """Return whether `roles` include a permission: an expression, PUBLIC or ANY_USER."""
    if permission in (PUBLIC, ANY_USER):
        return True
    return any(_covers(expression, permission) for role in roles for expression in PERMISSIONS[role])


def _covers(granted: str, needed: str) -> bool:
    pairs = zip(granted.split(":"), needed.split(":"), strict=False)
    return granted == ALL_PERMISSIONS or all(left in ("*", right) for left, right in pairs)


def is_read_permission(permission: str) -> bool:
    """Return whether operations with this permission only read, whatever their HTTP method."""
    return permission.endswith(":READ")
