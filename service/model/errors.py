"""Domain errors, independent of HTTP: `http/envelope` maps `kind` to a status.

The docstring of an error is its message. Codes are OCP's (docs/reference/ocp-api.md 4.5); 0 where OCP has none. This
module has the errors of requests, the inventory and the service; `access/errors` and `tasks/errors` have the others.
"""

import dataclasses
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar


class Kind(StrEnum):
    """The kind of an error, as in docs/reference/ocp-api.md 4.3."""

    BAD_REQUEST = "bad request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not found"
    METHOD_NOT_ALLOWED = "method not allowed"
    CONFLICT = "conflict"
    TOO_LARGE = "too large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported media type"
    TOO_MANY_REQUESTS = "too many requests"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, kw_only=True)
class Wording:
    """A translatable sentence with placeholders `field`, `rule`, `shown` and `limits`, which also fill the rule."""

    sentence: str
    limits: Mapping[str, Any]
    field: str
    rule: str = ""
    shown: str = ""

    def say(self, translate: Callable[[str], str] = str) -> str:
        """Return the sentence, translated by `translate`."""
        rule = translate(self.rule).format(**self.limits) if self.rule else ""
        values = {**self.limits, "field": self.field, "rule": rule, "shown": self.shown}
        return translate(self.sentence).format(**values)


@dataclass(frozen=True, kw_only=True)
class SubError:
    """One invalid field of a request. `field` is its path (`hosts[0].sqlPort`), `rejected_value` the sent value."""

    field: str
    message: str
    object: str
    rejected_value: Any = None
    wording: Wording | None = dataclasses.field(default=None, compare=False)  # of `message`, for its translation

    @classmethod
    def saying(cls, sentence: str, *, field: str, object: str, rejected_value: Any = None, **values: Any) -> "SubError":
        """Return a sub-error with a translatable sentence, whose placeholders are `field` and `values`."""
        wording = Wording(sentence=sentence, limits=values, field=field)
        return cls(field=field, message=wording.say(), object=object, rejected_value=rejected_value, wording=wording)


class TakeoverError(Exception):
    """A request that this service rejects or cannot execute."""

    kind: ClassVar[Kind] = Kind.BAD_REQUEST
    code: ClassVar[int] = 0

    def __init__(self, **details: object) -> None:
        self.details = details
        super().__init__(self.say())

    def say(self, translate: Callable[[str], str] = str) -> str:
        """Return the message, translated by `translate`."""
        return translate((self.__doc__ or "").splitlines()[0]).format(**self.details)


class InvalidRequest(TakeoverError):
    """{first}"""

    def __init__(self, sub_errors: Sequence[SubError]) -> None:
        self.sub_errors = tuple(sub_errors)
        super().__init__(first=self.sub_errors[0].message)

    def say(self, translate: Callable[[str], str] = str) -> str:
        first = self.sub_errors[0]
        return first.wording.say(translate) if first.wording else first.message


class SortNotAllowed(InvalidRequest):
    """{first}"""

    code = 1011


class MalformedBody(TakeoverError):
    """The request body is not valid JSON: {reason}."""


class BodyTooLarge(TakeoverError):
    """The request body is larger than the {limit} bytes allowed."""

    kind = Kind.TOO_LARGE


class UnsupportedMediaType(TakeoverError):
    """Content-Type {found!r} is not supported; send application/json."""

    kind = Kind.UNSUPPORTED_MEDIA_TYPE


class UnsupportedContentEncoding(TakeoverError):
    """Content-Encoding {found!r} is not supported; send the body uncompressed."""

    kind = Kind.UNSUPPORTED_MEDIA_TYPE


class AmbiguousLength(TakeoverError):
    """Content-Length and Transfer-Encoding exclude each other; send one of them."""


class NoSuchPath(TakeoverError):
    """Path {path} does not exist."""

    kind = Kind.NOT_FOUND
    code = 1002


class MethodNotAllowed(TakeoverError):
    """{method} is not supported at {path}; allowed: {allowed}."""

    kind = Kind.METHOD_NOT_ALLOWED
    code = 1008


class NotConfirmed(TakeoverError):
    """Nothing was submitted: the takeover was not confirmed. Check the hosts; the result offers their takeover."""


class UnknownCluster(TakeoverError):
    """OBProxy cluster {cluster_id} does not exist in the inventory."""

    kind = Kind.NOT_FOUND
    code = 21001


class UnknownHost(TakeoverError):
    """Host {host_id} does not exist in the inventory."""

    kind = Kind.NOT_FOUND
    code = 7005


def reject_unknown_hosts(host_ids: Sequence[int], known: Container[int], *, field: str, object: str) -> None:
    """Raise UnknownHost for one host that is not `known`, InvalidRequest for several. `field` has an `{index}`."""
    unknown = [(index, host_id) for index, host_id in enumerate(host_ids) if host_id not in known]
    if len(unknown) == 1:
        raise UnknownHost(host_id=unknown[0][1])
    if unknown:
        raise InvalidRequest(
            [
                SubError.saying(
                    UnknownHost.__doc__ or "",
                    field=field.format(index=index),
                    object=object,
                    rejected_value=host_id,
                    host_id=host_id,
                )
                for index, host_id in unknown
            ]
        )


class InventoryUnreadable(TakeoverError):
    """The inventory cannot be read: {reason}"""

    kind = Kind.UNAVAILABLE


class DatabaseLost(TakeoverError):
    """The database does not answer. Try again later."""

    kind = Kind.UNAVAILABLE


class DatabaseNotWritable(TakeoverError):
    """The database cannot be written: {reason}. The request was not executed; correct the cause and send it again."""

    kind = Kind.UNAVAILABLE


class WorkflowInvalid(TakeoverError):
    """{path}: {reason}"""

    kind = Kind.UNAVAILABLE


class Overloaded(TakeoverError):
    """This process already has {limit} requests in progress. Try again later."""

    kind = Kind.UNAVAILABLE


class TooManyStreams(TakeoverError):
    """This process already has {limit} open event streams. Try again later, or poll instead."""

    kind = Kind.UNAVAILABLE


class SettingsInvalid(TakeoverError):
    """{reason}"""


class StartFailed(TakeoverError):
    """{reason}"""

    kind = Kind.UNAVAILABLE


class LeaseExpired(TakeoverError):
    """The worker paused for more than {seconds:.0f} s before it started the run. Another worker may execute it now."""

    kind = Kind.CONFLICT


class DecryptionFailed(TakeoverError):
    """A stored secret cannot be decrypted: the key in the data directory is not the one it was encrypted with."""

    kind = Kind.UNAVAILABLE
