"""Translation of texts with values in them."""

import pytest

from service.http.text_patterns import TextPatterns

PATTERNS = TextPatterns(
    {
        "stop it": "停止",
        "free {1} MiB": "释放 {1} MiB",
        "{1} of {2}": "{2} 中的 {1}",
        "copy {1} {2} there": "复制 {1} {2}",
        "either {fix} or {other}": "{fix}或{other}",
    }
)


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ("stop it", "停止"),
        ("stop it.", "停止"),
        ("free 12 MiB.", "释放 12 MiB"),
        ("3 of 5", "5 中的 3"),
        ("3 of 5 of 7", "5 of 7 中的 3"),
        ("copy a b c there", "复制 a b c"),
        ("either stop it or free 5 MiB", "停止或释放 5 MiB"),
        ("either stop it or leave it", "停止或leave it"),
    ],
)
def test_a_text_is_translated_with_its_values(text: str, translated: str) -> None:
    assert PATTERNS.translate(text) == translated


@pytest.mark.parametrize(
    "text", ["", ".", "stop it..", "free MiB", "freeMiB", "copy there", "copy a there", "Stop it."]
)
def test_a_text_that_fits_no_pattern_stays_as_it_is(text: str) -> None:
    assert PATTERNS.translate(text) == text


def test_the_text_within_a_text_has_a_limit() -> None:
    nested = "either stop it or " * 5 + "stop it"

    assert PATTERNS.translate(nested) == "停止或" * 3 + "stop it或either stop it or stop it"


def test_a_value_can_look_like_a_placeholder() -> None:
    assert PATTERNS.translate("free {2} MiB") == "释放 {2} MiB"
