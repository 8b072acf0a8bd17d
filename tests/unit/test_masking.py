"""Known secrets do not survive in text."""

import pytest

from service.masking import MASK, masker


@pytest.mark.parametrize(
    ("variables", "text", "expected"),
    [
        ({"obproxy_sys_password": "Needle#1"}, "is Needle#1, not Needle#2", f"is {MASK}, not Needle#2"),
        ({"ansible_password": "abcd", "x_token": "abcdef"}, "abcdef abcd", f"{MASK} {MASK}"),
        ({"ansible_become_pass": "a.c*d"}, "a.c*d abcd", f"{MASK} abcd"),
        ({"obproxy_sys_password": "abc"}, "abc", "abc"),  # shorter than is worth it
        ({"obproxy_cluster_name": "test"}, "test", "test"),
        ({"obproxy_sys_password": None}, "None", "None"),
        ({}, "text", "text"),
    ],
)
def test_masks(variables: dict[str, object], text: str, expected: str) -> None:
    assert masker([variables])(text) == expected
