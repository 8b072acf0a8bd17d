"""Languages of pages and error messages: negotiation, and catalogs, which are read from locale/ once."""

import gettext
import io
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from service.http.text_patterns import TextPatterns

LOCALE = Path(__file__).parent / "locale"
ENGLISH, CHINESE = "en", "zh-CN"
LANGUAGES = {ENGLISH: "English", CHINESE: "中文"}
"""Language tags with their native names. English is the language of the code and has no catalog."""

CATALOGS = {CHINESE: "zh_CN.po"}
ERROR_CATALOGS = {CHINESE: "errors_zh_CN.po"}
"""Error messages: they have placeholders in braces and are in no template, so pybabel does not extract them."""
RULE_CATALOGS = {CHINESE: "rules_zh_CN.po"}
"""Rules and fixes of roles and plugins: a host's message has them in English, with values in them."""

_RANGE = re.compile(r"([A-Za-z]{2,3})(?:-[A-Za-z0-9-]+)?\s*(?:;\s*q=([01](?:\.\d{0,3})?))?")


def choose(accept_language: str, preferred: str = "") -> str:
    """Return the language `preferred`, else the best one of an Accept-Language header, else English.

    Every Chinese variant is served in simplified Chinese.
    """
    if preferred in LANGUAGES:
        return preferred
    primary = {language.partition("-")[0]: language for language in LANGUAGES}
    ranges = [match for part in accept_language.split(",") if (match := _RANGE.fullmatch(part.strip()))]
    ranges = [match for match in ranges if float(match[2] or 1) > 0]
    for match in sorted(ranges, key=lambda match: -float(match[2] or 1)):
        if match[1].lower() in primary:
            return primary[match[1].lower()]
    return ENGLISH


def error_translator(language: str) -> Callable[[str], str]:
    """Return the function that translates error messages into one of LANGUAGES."""
    return _read(ERROR_CATALOGS[language]).gettext if language in ERROR_CATALOGS else str


@cache
def rule_translator(language: str) -> Callable[[str], str]:
    """Return the function that translates rules and fixes, as a failed subtask reports them, into one of LANGUAGES."""
    if language not in RULE_CATALOGS:
        return str
    with (LOCALE / RULE_CATALOGS[language]).open("rb") as file:
        catalog = {str(message.id): str(message.string) for message in read_po(file) if message.id}
    return TextPatterns(catalog).translate


def translations(language: str) -> gettext.NullTranslations:
    """Return the translations of the pages into one of LANGUAGES."""
    return _read(CATALOGS[language]) if language in CATALOGS else gettext.NullTranslations()


@cache
def _read(catalog: str) -> gettext.NullTranslations:
    compiled = io.BytesIO()
    with (LOCALE / catalog).open("rb") as file:
        write_mo(compiled, read_po(file))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
