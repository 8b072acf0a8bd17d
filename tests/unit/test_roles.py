"""The expressions that each role covers, as a table."""

import pytest

from service.access.roles import (
    ANY_USER,
    PERMISSIONS,
    PUBLIC,
    READ_AUDIT,
    READ_HOST,
    READ_OBPROXY,
    READ_TASK,
    UPDATE_OBPROXY,
    UPDATE_TASK,
    Role,
    is_read_permission,
    permitted,
)

# OCP's roles have these too. No operation of this service needs them.
READ_CLUSTER = "CLUSTER:*:READ"
READ_PACKAGE = "PACKAGE:*:READ"
UPDATE_HOST = "HOST:*:UPDATE"
UPDATE_PACKAGE = "PACKAGE:*:UPDATE"
READ_RESOURCES = {READ_OBPROXY, READ_HOST, READ_CLUSTER, READ_PACKAGE}

MAY = {
    Role.ADMIN: {*READ_RESOURCES, READ_TASK, READ_AUDIT, UPDATE_OBPROXY, UPDATE_TASK, UPDATE_HOST, UPDATE_PACKAGE},
    Role.CLUSTER_MANAGER: {READ_OBPROXY, READ_TASK, UPDATE_OBPROXY, UPDATE_TASK},
    Role.OBPROXY_MANAGER: {*READ_RESOURCES, UPDATE_OBPROXY, UPDATE_PACKAGE},
    Role.OBPROXY_VIEWER: READ_RESOURCES,
    Role.HOST_MANAGER: {READ_HOST, READ_PACKAGE, UPDATE_HOST, UPDATE_PACKAGE},
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

    assert permitted(both, UPDATE_OBPROXY)
    assert permitted(both, READ_TASK)
    assert not permitted(both, UPDATE_TASK)


def test_without_a_role_only_the_permissions_of_every_user() -> None:
    assert not permitted([], READ_TASK)
    assert permitted([], ANY_USER)
    assert permitted([], PUBLIC)


def test_every_role_has_its_expressions() -> None:
    assert set(PERMISSIONS) == set(Role)
    assert all(expression == "**" or expression.count(":") == 2 for line in PERMISSIONS.values() for expression in line)


def test_only_permissions_to_read_are_read_permissions() -> None:
    assert all(map(is_read_permission, (READ_AUDIT, READ_HOST, READ_OBPROXY, READ_TASK)))
    assert not any(map(is_read_permission, (ANY_USER, PUBLIC, UPDATE_OBPROXY, UPDATE_TASK)))
