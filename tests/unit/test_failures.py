"""The limits of the failures that a run keeps, and the text of several failures."""

import pytest

from service.outcome.failures import NO_FAILURES, Blocks, Failure, message, parse_blocks


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
