"""Users for tests that need no user in the database."""

from service.access.roles import Role
from service.access.users import User

ADMIN = User(id=100, name="admin", roles=(Role.ADMIN,))
