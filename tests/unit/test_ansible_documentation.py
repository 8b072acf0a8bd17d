"""The argument spec of a plugin, from its documentation."""

from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec

DOCUMENTATION = """
options:
  ports:
    description: Some ports.
    type: list
    elements: int
    required: true
    aliases: [port]
  mode:
    description: [a, b]
    type: str
    default: quick
    choices: [quick, slow]
    no_log: false
    version_added: 1.0.0
"""


def test_the_argument_spec_has_what_ansible_validates() -> None:
    assert argument_spec(DOCUMENTATION) == {
        "ports": {"type": "list", "elements": "int", "required": True, "aliases": ["port"]},
        "mode": {"type": "str", "default": "quick", "choices": ["quick", "slow"], "no_log": False},
    }
