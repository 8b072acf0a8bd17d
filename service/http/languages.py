"""The languages that pages speak: which one a reader wants, and its texts, read from locale/ once."""

import gettext
import io
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LOCALE = Path(__file__).parent / "locale"
ENGLISH, CHINESE = "en", "zh-CN"
LANGUAGES = {ENGLISH: "English", CHINESE: "中文"}
"""Each by its name in itself. English is what the code is written in and has no catalog."""

CATALOGS = {CHINESE: "zh_CN.po"}
ERRORS = {CHINESE: "errors_zh_CN.po"}
"""What refusals say: their sentences have places in braces, and stand in no template."""

_RANGE = re.compile(r"([A-Za-z]{2,3})(?:-[A-Za-z0-9-]+)?\s*(?:;\s*q=([01](?:\.\d{0,3})?))?")


def choose(accepted: str, wanted: str = "") -> str:
    """The language `wanted`, or the best of an Accept-Language header; English when we speak none of them.

    Any Chinese is better answered in simplified Chinese than in English.
    """
    if wanted in LANGUAGES:
        return wanted
    primary = {language.partition("-")[0]: language for language in LANGUAGES}
    ranges = [match for part in accepted.split(",") if (match := _RANGE.fullmatch(part.strip()))]
    ranges = [match for match in ranges if float(match[2] or 1) > 0]
    for match in sorted(ranges, key=lambda match: -float(match[2] or 1)):
        if match[1].lower() in primary:
            return primary[match[1].lower()]
    return ENGLISH


def of_errors(language: str) -> Callable[[str], str]:
    """What puts the sentence of a refusal into one of LANGUAGES."""
    return _read(ERRORS[language]).gettext if language in ERRORS else str


def translations(language: str) -> gettext.NullTranslations:
    """The texts of one of LANGUAGES."""
    return _read(CATALOGS[language]) if language in CATALOGS else gettext.NullTranslations()


@cache
def _read(catalog: str) -> gettext.NullTranslations:
    compiled = io.BytesIO()
    with (LOCALE / catalog).open("rb") as file:
        write_mo(compiled, read_po(file))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
