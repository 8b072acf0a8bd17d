"""The policy of a rollout, and the decision which hosts of a request start next."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """The policy of a request: the first `canary` hosts start alone, then batches of `batch_size` hosts.

    A batch starts when all hosts of the one before have ended. When more than `max_failures` hosts have failed, no
    further host starts.
    """

    canary: int = 0  # 0 = no host starts alone
    batch_size: int | None = None  # None = all hosts after the canary ones are one batch
    max_failures: int = 0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Numbers of hosts of a request."""

    held: int  # not started
    held_canary: int  # those of them that are canary hosts
    running: int  # started and not ended
    failed: int  # failed, without those whose failure a retry of the request has accepted


class Step(NamedTuple):
    """The next step of a rollout: the number of held hosts to start, or the end of all starts."""

    start: int = 0
    stop: bool = False


def next_step(policy: Rollout, progress: Progress) -> Step:
    """Return the next step of a rollout."""
    if not progress.held:
        return Step()
    if progress.failed > policy.max_failures:
        return Step(stop=True)
    if progress.running:
        return Step()
    if progress.held_canary:
        return Step(start=progress.held_canary)
    return Step(start=progress.held if policy.batch_size is None else min(policy.batch_size, progress.held))
