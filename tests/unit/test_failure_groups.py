"""Failures of many hosts, grouped by their reason."""

from hypothesis import given
from hypothesis import strategies as st

from service.outcome.failure_groups import HostFailure, group

RULES = (
    "TASK_FAILED: Rule: the host has 1 GiB of free memory. Found: {} GiB. Fix: stop other processes."
    ' (Ansible task "Check", role check_command, host {})'
)


def failure(host: str, reason: str, subtask: str = "Check if command exists") -> HostFailure:
    return HostFailure(host_name=host, task_id=1, subtask=subtask, reason=reason)


def names(failures: list[HostFailure]) -> list[list[str]]:
    return [[host.host_name for host in found.hosts] for found in group(failures)]


def test_the_same_rule_is_one_group_whatever_was_found() -> None:
    (found,) = group([failure(f"odp-{n}", RULES.format(n / 10, f"odp-{n}")) for n in (3, 1, 2)])

    assert [host.host_name for host in found.hosts] == ["odp-3", "odp-1", "odp-2"]
    assert [(rule.rule, rule.found) for rule in found.rules] == [("the host has 1 GiB of free memory.", "0.3 GiB.")]
    assert found.hosts[1].rules[0].found == "0.1 GiB."


def test_another_subtask_is_another_group_and_the_largest_is_first() -> None:
    reason = "UNREACHABLE: no route"

    assert names([failure("a", reason, "One"), failure("b", reason, "Two"), failure("c", reason, "Two")]) == [
        ["b", "c"],
        ["a"],
    ]


def test_messages_that_differ_in_the_host_alone_are_one_group() -> None:
    messages = {host: f'UNREACHABLE: {host} does not answer. (Ansible task "Ping", host {host})\nmore' for host in "ab"}

    (found,) = group([failure(host, message) for host, message in messages.items()])

    assert (found.message, found.rules) == ("UNREACHABLE: HOST does not answer.", ())


def test_a_part_of_a_word_is_not_the_host() -> None:
    assert names([failure("nc", "nc-old is missing"), failure("x", "nc-old is missing")]) == [["nc", "x"]]
    (found,) = group([failure("odp-1", "odp-11 and odp-1.example.com, odp-1.")])
    assert found.message == "odp-11 and odp-1.example.com, HOST."
    (found,) = group([failure("", "no name")])
    assert found.message == "no name"


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=30), st.sampled_from(["One", "Two"])), max_size=20))
def test_every_failure_is_in_one_group(found: list[tuple[str, str, str]]) -> None:
    failures = [failure(*each) for each in found]

    groups = group(failures)

    grouped = [each for one in groups for each in one.hosts]
    assert sorted(map(repr, grouped)) == sorted(map(repr, failures))
    assert [len(one.hosts) for one in groups] == sorted((len(one.hosts) for one in groups), reverse=True)
    assert all({each.subtask for each in one.hosts} == {one.subtask} for one in groups)
