"""The choice of a language, and that every catalog has every text of the pages."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import fix_for_root
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from service.access import errors as access_errors
from service.fleet import discoveries
from service.http import field_errors, languages, requests
from service.http.languages import CATALOGS, LOCALE, choose, translations
from service.model import errors as model_errors
from service.model.errors import TakeoverError
from service.pages import selection
from service.tasks import errors as tasks_errors
from service.tasks import external_runs, managed_servers
from tests.rule_texts import VALUE, rule_texts

SERVICE = Path(__file__).parents[2] / "service"
CHINESE_CHARACTER = re.compile(r"[\u4e00-\u9fff]")
SELINUX = "check whether SELinux denied the access: ausearch -m avc -ts recent. Otherwise {fix}"


@pytest.mark.parametrize(
    ("accepted", "wanted", "chosen"),
    [
        ("", "", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "", "zh-CN"),
        ("zh", "", "zh-CN"),
        ("zh-Hant-TW", "", "zh-CN"),
        ("en-GB,zh;q=0.9", "", "en"),
        ("de,fr;q=0.9", "", "en"),
        ("de, zh;q=0.5, en;q=0.4", "", "zh-CN"),
        ("zh;q=0, en;q=0.1", "", "en"),
        ("zh;q=0", "", "en"),
        ("zh;q=nonsense,;;;,*", "", "en"),
        ("zh", "en", "en"),
        ("en", "zh-CN", "zh-CN"),
        ("en", "zh-CN\n", "en"),
        ("en", "xx", "en"),
    ],
)
def test_the_chosen_language_precedes_that_of_the_browser(accepted: str, wanted: str, chosen: str) -> None:
    assert choose(accepted, wanted) == chosen


def message_ids() -> Iterator[tuple[str, ...]]:
    """Everything on the pages that is to be translated, with its plural."""
    ways = [("pages/templates/**.html", "jinja2"), ("**.py", "python")]
    for _, _, message, _, _ in extract_from_dir(SERVICE, ways, {"pages/templates/**.html": {"trimmed": "true"}}):
        yield (message,) if isinstance(message, str) else tuple(message)


def catalog(language: str) -> Catalog:
    with (LOCALE / CATALOGS[language]).open("rb") as file:
        return read_po(file)


@pytest.mark.parametrize("language", CATALOGS)
def test_a_catalog_is_complete_and_has_nothing_else(language: str) -> None:
    known = {message.id: message.string for message in catalog(language) if message.id}
    wanted = {message[0] if len(message) == 1 else message for message in message_ids()}

    assert set(known) == wanted, "make messages brings the catalog up to date"
    assert [text for text, string in known.items() if not string or not all(string)] == []


@pytest.mark.parametrize("language", CATALOGS)
def test_placeholders_are_the_same_in_translations(language: str) -> None:
    faults = [(message.id, error) for message in catalog(language) for error in message.check()]

    assert not faults


def test_english_needs_no_catalog_and_chinese_has_one() -> None:
    assert translations("en").gettext("Running") == "Running"
    assert translations("zh-CN").gettext("Running") == "运行中"
    assert translations("zh-CN").ngettext("%(num)s entry", "%(num)s entries", 2) == "共 %(num)s 条"
    assert set(languages.CATALOGS) | {"en"} == set(languages.LANGUAGES)


def written_sentences() -> Iterator[str]:
    """Yield the sentences of sub-errors that are written where they are made; each must be translatable."""
    for path in sorted(SERVICE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "SubError":
                assert "wording" in {keyword.arg for keyword in node.keywords}, f"{path}:{node.lineno}"
    for source in (requests, discoveries, selection, external_runs):
        text = Path(source.__file__ or "").read_text(encoding="utf-8")
        yield from re.findall(r'sentence = "([^"]+)"', text)
        yield from re.findall(r'_unknown\("([^"]+)"', text)


def error_messages() -> set[str]:
    """Every message of an error response, except those that consist of values only."""
    kinds = [kind for module in (model_errors, access_errors, tasks_errors) for kind in vars(module).values()]
    told = [kind.__doc__ or "" for kind in kinds if isinstance(kind, type) and issubclass(kind, TakeoverError)]
    sentences = {
        *managed_servers.SENTENCES,
        *written_sentences(),
        "{field} {rule}.",
        "{field} {rule}; it is {shown}.",
        "{field} {rule}; it has {shown}.",
        *field_errors.PYDANTIC_RULES.values(),
        *requests.QUERY_RULES.values(),
    }
    return (sentences | {*field_errors.CUSTOM_RULES.values(), *(text.splitlines()[0] for text in told)}) - {
        TakeoverError.__doc__,
        "{first}",
        "{reason}",
        "{path}: {reason}",
    }


@pytest.mark.parametrize("language", languages.ERROR_CATALOGS)
def test_every_error_can_be_translated_with_its_values(language: str) -> None:
    with (LOCALE / languages.ERROR_CATALOGS[language]).open("rb") as file:
        known = {message.id: message.string for message in read_po(file) if message.id}

    assert set(known) == error_messages()
    for sentence, translated in known.items():
        assert translated and set(re.findall(r"{\w+", str(translated))) == set(re.findall(r"{\w+", str(sentence))), (
            sentence
        )


def test_our_own_rules_are_those_of_the_validators() -> None:
    schemas = (SERVICE / "http" / "request_types.py", SERVICE / "api" / "bodies.py")
    source = "".join(path.read_text(encoding="utf-8") for path in schemas)
    assert dict(re.findall(r'PydanticCustomError\("(\w+)", "([^"]+)"', source)) == field_errors.CUSTOM_RULES


@pytest.mark.parametrize("language", languages.RULE_CATALOGS)
def test_every_rule_and_fix_is_translated_with_its_values(language: str) -> None:
    translate = languages.rule_translator(language)

    for text in rule_texts():
        values = [f"value-{number}" for number in range(text.count(VALUE))]
        translated = translate(f"{text.format(*values)}.")
        assert CHINESE_CHARACTER.search(translated), text
        assert re.findall(r"value-\d", translated) == values, text


@pytest.mark.parametrize("language", languages.RULE_CATALOGS)
def test_a_catalog_of_rules_has_nothing_else(language: str) -> None:
    with (LOCALE / languages.RULE_CATALOGS[language]).open("rb") as file:
        known = {str(message.id): str(message.string) for message in read_po(file) if message.id}

    assert {re.sub(r"\{\d+\}", VALUE, text) for text in known} == {*rule_texts(), SELINUX}
    for text, translated in known.items():
        assert re.findall(r"\{\w+\}", text) == re.findall(r"\{\w+\}", translated)


def test_the_rules_of_all_roles_and_plugins_are_read() -> None:
    texts = rule_texts()

    assert "The host is in the group of an OBProxy cluster" in texts  # a file of rules
    assert f"free at least {VALUE} MiB; on a full disk OBProxy rejects ALTER" in texts  # a rule of an Ansible task
    assert "The agent accepts its former configuration" in texts  # an argument of an action
    assert f"make su - {VALUE} work for root on the host" in texts  # a variable of an Ansible task
    assert "read OBProxy's log; a full disk is a common cause" in texts  # an action
    assert "correct the host's sudoers; visudo -c shows the invalid line" in texts  # a table of a module


def test_a_rule_can_have_another_fix_in_its_fix() -> None:
    fix = fix_for_root("Permission denied", "install obproxy-4.3.1 by hand", {"is_root": True, "selinux": "enforcing"})

    translated = languages.rule_translator("zh-CN")(f"{fix}.")

    assert "手动安装 obproxy-4.3.1" in translated and "SELinux" in translated


def test_other_texts_stay_as_they_are() -> None:
    assert languages.rule_translator("zh-CN")("The moon is full.") == "The moon is full."
    assert languages.rule_translator("en")("mount it writable.") == "mount it writable."


@pytest.mark.parametrize("language", sorted(CATALOGS))
def test_a_release_has_one_term(language: str) -> None:
    texts = {str(message.id): str(message.string) for message in catalog(language)}
    releases = {text: wording for text, wording in texts.items() if re.search(r"\breleased?\b", text, re.IGNORECASE)}

    assert releases and {text for text, wording in releases.items() if "移出" not in wording} == set()
