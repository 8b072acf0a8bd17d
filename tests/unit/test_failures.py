"""Failures of a run: which are final, rescued or ignored, their limits, and the text of several."""

from dataclasses import replace
from typing import Any

import pytest

from service.outcome.failures import NO_FAILURES, Blocks, Failure, Failures, message, parse_blocks


def failed(text: str) -> Failure:
    return Failure(code="TASK_FAILED", message=text)


def test_the_first_ten_failures_are_kept_and_the_last_one_is_known() -> None:
    failures = NO_FAILURES
    for number in range(12):
        failures = failures.add(failed(str(number)))

    assert [failure.message for failure in failures.pending] == [str(number) for number in range(10)]
    assert failures.last == failed("11")


def test_the_cause_is_shown_in_full_and_what_failed_after_it_is_cut() -> None:
    text = message([failed("cause " * 300), failed("second\n line"), failed("x" * 1001)])

    assert text == f"{'cause ' * 300} After that failed: second line After that failed: {'x' * 1000} …"


@pytest.mark.parametrize(
    ("value", "blocks"),
    [
        (["a b rescue", "c always"], (("a b", "rescue"), ("c", "always"))),
        ("a block", ()),
        ([None, 7], (("", ""), ("", ""))),
        (["a block"] * 51, (("a", "block"),) * 50),
        ([f"{'x' * 98} always"], (("x" * 98, "a"),)),
    ],
)
def test_blocks_of_a_hostile_event_are_limited(value: object, blocks: Blocks) -> None:
    assert parse_blocks(value) == blocks


IN_BLOCK: Blocks = (("a", "block"),)
IN_RESCUE: Blocks = (("a", "rescue"),)
IN_ALWAYS: Blocks = (("a", "always"),)
NESTED: Blocks = (("a", "block"), ("b", "block"))


def failed_in(blocks: Blocks, **values: Any) -> Failure:
    return replace(failed("no"), task="t", blocks=blocks, **values)


def after(failures: Failures, blocks: Blocks, *, task: str = "next", is_handler: bool = False) -> Failures:
    return failures.after(blocks, task=task, is_handler=is_handler)


@pytest.mark.parametrize(
    ("blocks", "running", "rescue"),
    [
        (IN_BLOCK, IN_RESCUE, IN_RESCUE),
        (IN_BLOCK, (*IN_RESCUE, ("b", "block")), IN_RESCUE),
        (NESTED, (("a", "block"), ("b", "rescue")), (("a", "block"), ("b", "rescue"))),
        (NESTED, IN_RESCUE, IN_RESCUE),
    ],
)
def test_a_failure_is_being_rescued_in_the_rescue_section_of_its_block(
    blocks: Blocks, running: Blocks, rescue: Blocks
) -> None:
    failures = after(NO_FAILURES.add(failed_in(blocks)), running)

    assert failures.pending == (failed_in(blocks, rescue=rescue),)
    assert (failures.rescued, failures.are_final) == (False, False)
    ended = failures.at_end()
    assert (ended.pending, ended.rescued, ended.unexplained) == ((), True, None)
    beyond = after(failures, ())
    assert (beyond.pending, beyond.rescued, beyond.unexplained) == ((), True, None)
    assert beyond.at_end() == beyond


@pytest.mark.parametrize(
    ("blocks", "running"),
    [
        (IN_BLOCK, IN_ALWAYS),
        (IN_RESCUE, IN_ALWAYS),
        (NESTED, (("a", "block"), ("b", "always"), ("c", "block"))),
    ],
)
def test_an_always_section_does_not_rescue(blocks: Blocks, running: Blocks) -> None:
    failures = NO_FAILURES.add(failed_in(blocks))

    assert after(failures, running) == failures
    assert failures.are_final
    assert failures.at_end() == failures


@pytest.mark.parametrize(
    ("blocks", "running"),
    [
        (IN_BLOCK, ()),
        (IN_BLOCK, IN_BLOCK),
        (IN_BLOCK, (("b", "rescue"),)),
        (IN_BLOCK, (("b", "always"),)),
        (IN_RESCUE, IN_BLOCK),
        (IN_ALWAYS, IN_RESCUE),
        (NESTED, (("a", "block"), ("c", "rescue"), ("b", "rescue"))),
        ((), ()),
    ],
)
def test_a_run_that_continues_elsewhere_has_ignored_the_failure(blocks: Blocks, running: Blocks) -> None:
    failures = NO_FAILURES.add(failed_in(blocks))

    ignored = after(failures, running)
    assert (ignored.pending, ignored.rescued, ignored.are_final) == ((), False, False)
    assert ignored.unexplained == ignored.last == failed_in(blocks)
    assert after(failures, running, task="") == ignored
    assert after(failures, running, task="t") == failures  # the next item of a loop
    assert after(failures, running, is_handler=True) == failures
    unnamed = NO_FAILURES.add(replace(failed("no"), blocks=blocks))
    assert not after(unnamed, running, task="").pending


def test_an_unreachable_host_on_which_the_run_continues_needs_no_explanation() -> None:
    unreachable = replace(failed_in(IN_BLOCK), code="UNREACHABLE")
    assert after(NO_FAILURES.add(unreachable), ()) == Failures(last=unreachable)
    assert after(NO_FAILURES, ()) == NO_FAILURES
    assert NO_FAILURES.at_end() == NO_FAILURES


def test_a_rescue_section_that_fails_rescues_nothing() -> None:
    rescuing = after(NO_FAILURES.add(failed_in(IN_BLOCK)), IN_RESCUE)
    both = rescuing.add(failed_in(IN_RESCUE))

    assert both.are_final
    assert after(both, IN_ALWAYS) == both
    assert both.at_end() == both
    assert after(both, ()).rescued is False


def test_the_always_section_after_a_rescue_ends_the_rescue() -> None:
    rescuing = after(NO_FAILURES.add(failed_in(IN_BLOCK)), IN_RESCUE)

    assert after(rescuing, IN_ALWAYS) == Failures(rescued=True, last=failed_in(IN_BLOCK))
    assert after(rescuing, (), is_handler=True) == Failures(rescued=True, last=failed_in(IN_BLOCK))


def test_one_failure_that_is_not_rescued_is_final() -> None:
    other = (("z", "block"),)
    rescuing = after(NO_FAILURES.add(failed_in(IN_BLOCK)), IN_RESCUE).add(failed_in(other))

    assert rescuing.are_final
    assert rescuing.at_end().pending == (failed_in(other),)
