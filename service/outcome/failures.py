"""Decides which failed results of a run on one host are final, rescued or ignored.

A result does not report its rescue. It follows from the positions of the Ansible tasks that run after it: the blocks
that they are in, and the section (block, rescue, always) of each.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Literal

from service.outcome import ansible_results

MAX_FAILURES = 10  # the first is the cause, and a run has few after it
MAX_BLOCKS = 50
BLOCK_LIMIT = 100  # characters of a block's id with its section
FOLLOWING_LIMIT = 1_000  # characters of the message of each failure after the first

FailureCode = Literal["TASK_FAILED", "BAD_ARGUMENTS", "UNREACHABLE"]
Blocks = tuple[tuple[str, str], ...]  # (id, section), the outermost block first


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failed result without ignore_errors: final unless the run continues."""

    code: FailureCode
    message: str
    task: str = ""  # id of the Ansible task
    blocks: Blocks = ()
    rescue: Blocks = ()  # the section that is rescuing it


class _Relation(Enum):
    """Relation of an Ansible task to a failure before it."""

    RESCUE = auto()  # in the rescue section of the failed block
    ALWAYS = auto()  # in the always section of the failed block, or a handler
    NEXT = auto()  # after the failed block: the failure is not final


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The failed results of a run so far."""

    pending: tuple[Failure, ...] = ()  # not rescued yet, in chronological order: the first is the cause of the others
    rescued: bool = False  # at least one failure was rescued
    unexplained: Failure | None = None  # the last failure after which the run continued without a visible rescue
    last: Failure | None = None  # the last failure of the running role, rescued or not

    def add(self, failure: Failure) -> "Failures":
        """Return the failures with one more."""
        return replace(self, pending=(*self.pending, failure)[:MAX_FAILURES], last=failure)

    def after(self, blocks: Blocks, *, task: str, is_handler: bool) -> "Failures":
        """Return the failures when an Ansible task with this position runs."""
        if not self.pending:
            return self
        kept: list[Failure] = []
        rescued, unexplained = self.rescued, self.unexplained
        for failure in self.pending:
            relation, section = _relation(failure.blocks, blocks)
            if is_handler and relation is _Relation.NEXT:
                relation = _Relation.ALWAYS
            if relation is _Relation.RESCUE:
                kept.append(replace(failure, rescue=section))
            elif (task and task == failure.task) or (relation is _Relation.ALWAYS and not self._is_rescued(failure)):
                kept.append(failure)
            elif self._is_rescued(failure):
                rescued = True
            elif failure.code != "UNREACHABLE":  # ignore_unreachable is not reported in the result
                unexplained = failure
        return replace(self, pending=tuple(kept), rescued=rescued, unexplained=unexplained)

    def at_end(self) -> "Failures":
        """Return the failures after the last Ansible task."""
        rescued = [failure for failure in self.pending if self._is_rescued(failure)]
        pending = tuple(failure for failure in self.pending if failure not in rescued)
        return replace(self, pending=pending, rescued=self.rescued or bool(rescued))

    @property
    def are_final(self) -> bool:
        """True if a failure is not being rescued: only `always` sections and handlers can still run."""
        return not all(self._is_rescued(failure) for failure in self.pending)

    def _is_rescued(self, failure: Failure) -> bool:
        """Return whether a rescue section runs for the failure and has no pending failure itself."""
        section, depth = failure.rescue, len(failure.rescue)
        return bool(section) and not any(other.blocks[:depth] == section for other in self.pending)


NO_FAILURES = Failures()


def message(failures: Iterable[Failure]) -> str:
    """Return the messages of `failures` as one text, the cause first."""
    first, *others = failures
    following = (ansible_results.paragraph(other.message, FOLLOWING_LIMIT) for other in others)
    return " ".join([first.message, *(f"After that failed: {text}" for text in following)])


def parse_blocks(value: Any) -> Blocks:
    """Return the blocks in an event's `blocks`, which can have any type; other values give no blocks."""
    texts = value[:MAX_BLOCKS] if isinstance(value, list) else []
    parted = (ansible_results.clean(text, BLOCK_LIMIT).rpartition(" ") for text in texts)
    return tuple((block, section) for block, _, section in parted)


def _relation(failed: Blocks, running: Blocks) -> tuple[_Relation, Blocks]:
    """Return the relation of a running Ansible task to a failure, from the first block in which they differ."""
    for depth, (there, here) in enumerate(zip(failed, running, strict=False), 1):
        if there == here:
            continue
        if there[0] == here[0] and here[1] == "rescue" and there[1] == "block":
            return _Relation.RESCUE, running[:depth]
        if there[0] == here[0] and here[1] == "always":
            return _Relation.ALWAYS, ()
        break
    return _Relation.NEXT, ()
