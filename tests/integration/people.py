"""Users for tests that need none in the database."""

from service.permissions import Role
from service.users import User

ADMIN = User(id=100, name="admin", roles=(Role.ADMIN,))
