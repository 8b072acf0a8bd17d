"""The failed results of a run on one host: which of them stand, which were rescued, and which the run went on without.

A result tells nothing of its rescue. The position of the Ansible tasks that run after it does: inside which blocks, and
in which section of each.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Literal

from service.outcome import ansible_results

MOST = 10  # failures that are kept: the first is the cause, a run has few after it
MOST_BLOCKS = 50
BLOCK_LIMIT = 100  # characters of a block's id with its section
FOLLOWING = 1_000  # characters of the message of each failure after the first

FailureCode = Literal["TASK_FAILED", "BAD_ARGUMENTS", "UNREACHABLE"]
Blocks = tuple[tuple[str, str], ...]  # ids and sections (block, rescue, always), the outermost first


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failed result that was not marked as ignored: final unless the run goes on."""

    code: FailureCode
    message: str
    task: str = ""  # id of the Ansible task
    blocks: Blocks = ()
    rescue: Blocks = ()  # the section that is rescuing it


class _Relation(Enum):
    """Why an Ansible task runs after a failure."""

    RESCUE = auto()  # it is in the rescue section of a block that failed
    ALWAYS = auto()  # it is in the always section of such a block, or a handler
    NEXT = auto()  # the failure is over


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The failed results so far."""

    standing: tuple[Failure, ...] = ()  # in the order of time: the first is the cause of the others
    rescued: bool = False  # at least one was
    passed_over: Failure | None = None  # the last one that the run went on without, although no rescue was seen
    last: Failure | None = None  # of the running role, whatever became of it

    def add(self, failure: Failure) -> "Failures":
        """Return these and one more."""
        return replace(self, standing=(*self.standing, failure)[:MOST], last=failure)

    def after(self, blocks: Blocks, *, task: str, is_handler: bool) -> "Failures":
        """Return what has become of them when an Ansible task with this position runs."""
        if not self.standing:
            return self
        kept: list[Failure] = []
        rescued, passed_over = self.rescued, self.passed_over
        for failure in self.standing:
            relation, section = _relation(failure.blocks, blocks)
            if is_handler and relation is _Relation.NEXT:
                relation = _Relation.ALWAYS
            if relation is _Relation.RESCUE:
                kept.append(replace(failure, rescue=section))
            elif (task and task == failure.task) or (relation is _Relation.ALWAYS and not self._is_rescued(failure)):
                kept.append(failure)
            elif self._is_rescued(failure):
                rescued = True
            elif failure.code != "UNREACHABLE":  # which is ignored without a mark
                passed_over = failure
        return replace(self, standing=tuple(kept), rescued=rescued, passed_over=passed_over)

    def at_the_end(self) -> "Failures":
        """Return what has become of them when no Ansible task runs any more."""
        rescued = [failure for failure in self.standing if self._is_rescued(failure)]
        standing = tuple(failure for failure in self.standing if failure not in rescued)
        return replace(self, standing=standing, rescued=self.rescued or bool(rescued))

    @property
    def are_final(self) -> bool:
        """Whether one stands that nothing rescues: what still runs is `always` sections and handlers."""
        return any(not failure.rescue or not self._is_rescued(failure) for failure in self.standing)

    def _is_rescued(self, failure: Failure) -> bool:
        """Whether a section rescues it, and nothing that stands has failed in there."""
        depth = len(failure.rescue)
        return depth > 0 and not any(other.blocks[:depth] == failure.rescue for other in self.standing)


NO_FAILURES = Failures()


def message(failures: Iterable[Failure]) -> str:
    """Return the messages of `failures`, the cause first."""
    first, *others = failures
    following = (ansible_results.paragraph(other.message, FOLLOWING) for other in others)
    return " ".join([first.message, *(f"After that failed: {text}" for text in following)])


def blocks_of(told: Any) -> Blocks:
    """Return the blocks that an event names, of whatever shape it is."""
    texts = told[:MOST_BLOCKS] if isinstance(told, list) else []
    parted = (ansible_results.clean(text, BLOCK_LIMIT).rpartition(" ") for text in texts)
    return tuple((block, section) for block, _, section in parted)


def _relation(failed: Blocks, running: Blocks) -> tuple[_Relation, Blocks]:
    """Return how an Ansible task relates to a failure, from the first block in which their positions differ."""
    for depth, (there, here) in enumerate(zip(failed, running, strict=False), 1):
        if there == here:
            continue
        if there[0] == here[0] and here[1] == "rescue" and there[1] == "block":
            return _Relation.RESCUE, running[:depth]
        if there[0] == here[0] and here[1] == "always":
            return _Relation.ALWAYS, ()
        break
    return _Relation.NEXT, ()
