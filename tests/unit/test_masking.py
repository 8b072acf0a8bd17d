"""Known secrets do not survive in text."""

import pytest

from service.outcome.masking import MASK, Hidden, masker


@pytest.mark.parametrize(
    ("variables", "text", "expected"),
    [
        ({"obproxy_sys_password": "Needle#1"}, "is Needle#1, not Needle#2", f"is {MASK}, not Needle#2"),
        ({"ansible_password": "abcd", "x_token": "abcdef"}, "abcdef abcd", f"{MASK} {MASK}"),
        ({"ansible_become_pass": "a.c*d"}, "a.c*d abcd", f"{MASK} abcd"),
        ({"obproxy_sys_password": "abc"}, "abc", "abc"),  # shorter than is worth it
        ({"obproxy_cluster_name": "test"}, "test", "test"),
        ({"obproxy_sys_password": None}, "None", "None"),
        ({"obproxy_secrets": {"sys": ["Needle#1"]}}, "Needle#1", MASK),
        ({"plain": {"password": "Needle#1", "name": "Haystack"}}, "Needle#1 in a Haystack", f"{MASK} in a Haystack"),
        ({"plain": {"any": Hidden("Needle#1")}}, "Needle#1", MASK),
        ({"ansible_ssh_private_key_file": "/keys/id"}, "/keys/id", "/keys/id"),  # where it is, is no secret
        ({"x_secret": 'a"b\\c'}, r'as JSON "a\"b\\c"', f'as JSON "{MASK}"'),
        ({"x_secret": "sé#cret"}, r"s\u00e9#cret s%C3%A9%23cret", f"{MASK} {MASK}"),
        ({"x_secret": "it's \t"}, r"it's \t", MASK),
        ({"obproxy_sys_password": "secret"}, "e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4", MASK),
        ({"ansible_private_key": "-----BEGIN-----\nNeedleNeedleNeedle\n"}, "  NeedleNeedleNeedle.", f"  {MASK}."),
        (
            {"obproxy_sys_password": 12345678},
            '"password": 12345678',
            f'"password": {MASK}',
        ),  # YAML took it for a number
        ({"ask_password": True, "password_tries": 3}, "True, 3", "True, 3"),
        ({"obproxy_sys_password": "Needle#1\n"}, "is Needle#1.", f"is {MASK}."),
        ({"x_secret": "Need\x07le#1"}, "is Needle#1.", f"is {MASK}."),  # as it is shown, without control characters
        ({"x_secret": "\x07\x07\x07\x07"}, "text", "text"),
        ({"key_passphrase": "abcd", "x_api_key": "efgh", "db_pwd": "ijkl"}, "abcd efgh ijkl", f"{MASK} {MASK} {MASK}"),
        ({}, "text", "text"),
    ],
)
def test_masks(variables: dict[str, object], text: str, expected: str) -> None:
    assert masker([variables])(text) == expected
