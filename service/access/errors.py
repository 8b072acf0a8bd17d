"""What is refused because of who asks: logins, permissions, users and their access keys."""

from service.model.errors import Kind, TakeoverError


class Unauthenticated(TakeoverError):
    """Not logged in, or the credentials are wrong."""

    kind = Kind.UNAUTHENTICATED
    code = 3000


class LoginBlocked(TakeoverError):
    """Login is blocked for a while after too many failures."""

    kind = Kind.UNAUTHENTICATED
    code = 3007


class Forbidden(TakeoverError):
    """You do not have the permission for this."""

    kind = Kind.FORBIDDEN
    code = 3100


class NotFromOurPage(TakeoverError):
    """This request does not come from a page of this service, or that page is out of date. Reload it and try again."""

    kind = Kind.FORBIDDEN
    code = 3100


class RateLimited(TakeoverError):
    """Too many requests; the next one is answered in {seconds} seconds."""

    kind = Kind.TOO_MANY_REQUESTS


class UserInvalid(TakeoverError):
    """{reason}"""


class UserExists(TakeoverError):
    """User {name} exists already."""

    kind = Kind.CONFLICT
    code = 1006


class UnknownUser(TakeoverError):
    """There is no user {name}."""

    kind = Kind.NOT_FOUND
    code = 1002


class UnknownAccessKey(TakeoverError):
    """There is no access key {key}."""

    kind = Kind.NOT_FOUND
    code = 1002


class TooManyAccessKeys(TakeoverError):
    """User {name} has {limit} access keys already, which is as many as a user may have."""

    kind = Kind.CONFLICT
