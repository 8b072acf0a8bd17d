"""Compiles the Jinja templates of playbooks and roles once, for all runs that are forked from this process.

Ansible compiles a template whenever it evaluates it. In a run, each Ansible task has a process of its own, so a cache
of that process would not help. The code object that Jinja compiles depends only on the text: it is kept here, and
inherited by each fork. Every other template is compiled as usual.

Imports Ansible, so only the fork server imports this module.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import CodeType
from typing import Any

from ansible._internal._templating._engine import TemplateEngine
from ansible._internal._templating._jinja_bits import AnsibleEnvironment, _TemplateCompileContext
from jinja2 import TemplateError
from jinja2.environment import TemplateExpression

CONDITIONS = frozenset(("when", "that", "until", "changed_when", "failed_when"))
"""Keywords whose text is an expression without braces."""

_templates: dict[str, CodeType] = {}
_expressions: dict[str, CodeType] = {}


def compile_all(contents: Iterable[Any]) -> None:
    """Compile the templates in parsed YAML files, and let Ansible use the code. Ignore those that do not compile."""
    compiler = _Compiler()
    for content in contents:
        for text, is_expression in _templates_in(content):
            with suppress(TemplateError):  # a run that needs it reports the reason
                compiler.compile(str(text), is_expression)
    AnsibleEnvironment.compile = _compile
    AnsibleEnvironment.compile_expression = _compile_expression


class _Compiler:
    """Compiles as Ansible does, and keeps the code object, which Jinja discards."""

    def __init__(self) -> None:
        self._environment = TemplateEngine().environment
        self._environment.compile = self._keep
        self._compiled: list[CodeType] = []

    def compile(self, text: str, is_expression: bool) -> None:
        """Compile one text; raises TemplateError."""
        known = _expressions if is_expression else _templates
        if text in known:
            return
        with _TemplateCompileContext(escape_backslashes=not is_expression):
            if is_expression:
                self._environment.compile_expression(text, False)
            else:
                self._environment.from_string(text)
        known[text] = self._compiled.pop()

    def _keep(self, source: Any, *arguments: Any, **options: Any) -> CodeType:
        code: CodeType = _compile_as_usual(self._environment, source, *arguments, **options)
        self._compiled.append(code)
        return code


_compile_as_usual = AnsibleEnvironment.compile
_compile_expression_as_usual = AnsibleEnvironment.compile_expression


def _compile(self: Any, source: Any, *arguments: Any, **options: Any) -> Any:
    """Stand in for `AnsibleEnvironment.compile`."""
    if not arguments and not options and isinstance(source, str) and _is_usual(self, escape=True):
        code = _templates.get(source)
        if code is not None:
            return code
    return _compile_as_usual(self, source, *arguments, **options)


def _compile_expression(self: Any, source: str, undefined_to_none: bool = True) -> Any:
    """Stand in for `AnsibleEnvironment.compile_expression`."""
    code = _expressions.get(source) if _is_usual(self, escape=False) else None
    if code is None:
        return _compile_expression_as_usual(self, source, undefined_to_none)
    template = self.template_class.from_code(self, code, self.make_globals(None), None)
    return TemplateExpression(template, undefined_to_none)


def _is_usual(environment: Any, *, escape: bool) -> bool:
    """Return whether a text is compiled as `_Compiler` has compiled it: without options of its own.

    `escape`: backslashes in strings are escaped. Ansible does so in templates, but not in conditions.
    """
    context = _TemplateCompileContext.current(optional=True)
    return not environment.overlayed and context is not None and context.escape_backslashes is escape


def _templates_in(content: Any, keyword: str = "") -> Iterator[tuple[str, bool]]:
    """Yield each template in parsed YAML, and whether it is an expression."""
    match content:
        case dict():
            for key, inner in content.items():
                yield from _templates_in(inner, key)
        case list():
            for inner in content:
                yield from _templates_in(inner, keyword)
        case str() if keyword in CONDITIONS:
            yield content, True
        case str() if "{{" in content or "{%" in content:
            yield content, False
