"""Errors of authentication, authorisation, users and access keys."""

from service.model.errors import Kind, TakeoverError


class Unauthenticated(TakeoverError):
    """Not logged in, or the credentials are wrong."""

    kind = Kind.UNAUTHENTICATED
    code = 3000


class SignatureUsed(TakeoverError):
    """This signature was used before. Sign the request again with a new date, one second later or more."""

    kind = Kind.UNAUTHENTICATED
    code = 3099  # ours; OCP has none


class LoginBlocked(TakeoverError):
    """Login is blocked after too many failures. Try again later."""

    kind = Kind.UNAUTHENTICATED
    code = 3007


class Forbidden(TakeoverError):
    """User {user} does not have the permission {permission}. These roles include it: {roles}."""

    kind = Kind.FORBIDDEN
    code = 3100


class CsrfCheckFailed(TakeoverError):
    """CSRF check failed: the request does not come from a current page. Reload the page and try again."""

    kind = Kind.FORBIDDEN
    code = 3100


class RateLimited(TakeoverError):
    """Too many requests. Try again in {seconds} seconds."""

    kind = Kind.TOO_MANY_REQUESTS


class UserInvalid(TakeoverError):
    """Invalid user: {reason}."""


class UserExists(TakeoverError):
    """User {name} already exists. Choose another name."""

    kind = Kind.CONFLICT
    code = 1006


class UnknownUser(TakeoverError):
    """User {name} does not exist."""

    kind = Kind.NOT_FOUND
    code = 1002


class UnknownAccessKey(TakeoverError):
    """Access key {key} does not exist."""

    kind = Kind.NOT_FOUND
    code = 1002


class TooManyAccessKeys(TakeoverError):
    """User {name} already has {limit} access keys, the limit per user."""

    kind = Kind.CONFLICT
