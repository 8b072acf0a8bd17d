"""The expressions that each role covers, as a table."""

import pytest

from service.access.roles import ANY_USER, PERMISSIONS, PUBLIC, Role, permitted

TAKE_OVER = "OBPROXY:*:UPDATE"
READ_SERVER = "OBPROXY:*:READ"
READ_HOST = "HOST:*:READ"
UPDATE_TASK = "TASK:*:UPDATE"
READ_TASK = "TASK:*:READ"
READ_AUDIT = "AUDIT:*:READ"

MAY = {
    Role.ADMIN: {TAKE_OVER, READ_SERVER, READ_HOST, UPDATE_TASK, READ_TASK, READ_AUDIT},
    Role.CLUSTER_MANAGER: {TAKE_OVER, READ_SERVER, UPDATE_TASK, READ_TASK},
    Role.OBPROXY_MANAGER: {TAKE_OVER, READ_SERVER, READ_HOST},
    Role.OBPROXY_VIEWER: {READ_SERVER, READ_HOST},
    Role.HOST_MANAGER: {READ_HOST},
    Role.HOST_VIEWER: {READ_HOST},
    Role.TASK_MANAGER: {UPDATE_TASK, READ_TASK},
    Role.TASK_VIEWER: {READ_TASK},
}


@pytest.mark.parametrize("role", Role)
def test_permissions_of_a_role(role: Role) -> None:
    everything = MAY[Role.ADMIN]

    assert {needed for needed in everything if permitted([role], needed)} == MAY[role]
    assert permitted([role], ANY_USER)


def test_roles_add_up() -> None:
    both = [Role.OBPROXY_MANAGER, Role.TASK_VIEWER]

    assert permitted(both, TAKE_OVER)
    assert permitted(both, READ_TASK)
    assert not permitted(both, UPDATE_TASK)


def test_without_a_role_only_the_permissions_of_every_user() -> None:
    assert not permitted([], READ_TASK)
    assert permitted([], ANY_USER)
    assert permitted([], PUBLIC)


def test_every_role_has_its_expressions() -> None:
    assert set(PERMISSIONS) == set(Role)
    assert all(expression == "**" or expression.count(":") == 2 for line in PERMISSIONS.values() for expression in line)
