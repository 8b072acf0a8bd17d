"""Templates that are compiled before a run is forked give what Ansible's own compilation gives."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import jinja2
import pytest
from ansible._internal._templating._engine import TemplateEngine, TemplateOptions
from ansible._internal._templating._jinja_bits import AnsibleEnvironment
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from service.inventory import compiled_templates
from service.model.settings import PROJECT

VARIABLES = {"name": "world", "names": ["a", "b"]}
TEMPLATES = (
    "hello {{ name }}",
    "{{ names }}",
    "{% if names %}{{ names | length }}{% endif %}",
    '{{ "\\x2e" }}',  # Ansible escapes the backslash before Jinja reads the text
)
CONDITIONS = ("name == 'world'", "names | length > 2", "missing is defined")
OF_A_FORK = """
import jinja2
import service.inventory.fork_server
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

def generate(*arguments, **options):
    raise AssertionError("compiled again")

jinja2.Environment._generate = generate
variables = {"found": {"foreign_processes": [1, 2]}}
print(Templar(DataLoader(), variables).template(trust_as_template("{{ found.foreign_processes | join('; ') }}")))
"""

WITHOUT_COMPILED_TEMPLATES = """
import sys
sys.modules["service.inventory.compiled_templates"] = None  # its import fails
import service.inventory.fork_server
from service.inventory import preload

preload.extend_environment({})
print("preloaded")
"""


@pytest.fixture(autouse=True)
def compiled_as_usual_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compile", "compile_expression"):
        monkeypatch.setattr(AnsibleEnvironment, name, getattr(AnsibleEnvironment, name))
    for name in ("_templates", "_expressions"):
        monkeypatch.setattr(compiled_templates, name, {})


def compile_all(templates: Sequence[str], conditions: Sequence[str]) -> None:
    """Compile texts as those of an Ansible task."""
    compiled_templates.compile_all([[{"ansible.builtin.debug": {"msg": [*templates]}, "when": [*conditions]}]])


def values() -> list[Any]:
    templar = Templar(DataLoader(), VARIABLES)
    return [
        *(templar.template(trust_as_template(text)) for text in TEMPLATES),
        *(templar.evaluate_conditional(trust_as_template(text)) for text in CONDITIONS),
    ]


def test_templates_of_a_project_are_not_compiled_again() -> None:
    expected = values()

    compile_all(TEMPLATES, CONDITIONS)
    with patch.object(jinja2.Environment, "_generate", side_effect=AssertionError("compiled again")):
        found = values()

    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


def test_a_template_with_options_of_its_own_is_compiled_as_usual() -> None:
    compile_all(TEMPLATES, CONDITIONS)
    text = trust_as_template(
        "#jinja2: variable_start_string:'[%', variable_end_string:'%]'\nhello {{ name }} [% name %]"
    )

    assert Templar(DataLoader(), VARIABLES).template(text) == "hello {{ name }} world"
    engine = TemplateEngine(DataLoader(), VARIABLES)
    backslash = trust_as_template(TEMPLATES[-1])
    assert engine.template(backslash) == "\\x2e"
    assert engine.template(backslash, options=TemplateOptions(escape_backslashes=False)) == "."


def test_errors_of_templates_are_those_of_ansible() -> None:
    broken = ("{{ missing }}", "{{ name | no_such_filter }}", "{{ name")
    expected = [_error(text) for text in broken]

    compile_all(broken, ())

    assert [_error(text) for text in broken] == expected


def _error(text: str) -> str:
    with pytest.raises(AnsibleError) as raised:
        Templar(DataLoader(), VARIABLES).template(trust_as_template(text))
    return str(raised.value)


def test_the_fork_server_has_compiled_the_templates_of_roles() -> None:
    """Evaluates a template of the role check_process_not_exist."""
    assert _output(OF_A_FORK) == "1; 2"


def test_runs_are_forked_when_a_new_ansible_has_no_such_compiler() -> None:
    assert _output(WITHOUT_COMPILED_TEMPLATES) == "preloaded"


def _output(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
