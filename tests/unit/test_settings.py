"""Settings are read once, and an error names the invalid setting."""

import os
import re

import pytest
from pydantic import SecretStr

from service.cli.connection import FORMER_SECRET_FILE
from service.model import settings
from service.model.errors import SettingsInvalid

WEBHOOK_KEY = settings.WEBHOOK_KEY_PREFIX + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


def test_defaults_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAKEOVER_PORT", raising=False)
    assert settings.load({}).port == 8080


def test_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEOVER_PORT", "9000")
    assert settings.load().port == 9000


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TAKEOVER_PORT", "70000", r"^TAKEOVER_PORT: .*65535\. Found: '70000'$"),
        ("TAKEOVER_WORKER_CONCURRENCY", "none", r"^TAKEOVER_WORKER_CONCURRENCY: .*integer\. Found: 'none'$"),
        ("TAKEOVER_RETENTION_DAYS_AUDIT", "9999999", r"^TAKEOVER_RETENTION_DAYS_AUDIT: .*36500\. Found: '9999999'$"),
        ("TAKEOVER_SERVER_CHECK_INTERVAL", "inf", r"^TAKEOVER_SERVER_CHECK_INTERVAL: .*31622400\. Found: 'inf'$"),
        ("TAKEOVER_SERVER_LOOK_INTERVAL", "1e300", "^TAKEOVER_SERVER_LOOK_INTERVAL: .*31622400"),
        ("TAKEOVER_INVENTORY", "/nowhere", r"^TAKEOVER_INVENTORY: there is no file or directory.*Found: '/nowhere'$"),
        ("TAKEOVER_PROT", "1", "TAKEOVER_PROT is not a setting; did you mean TAKEOVER_PORT"),
        ("TAKEOVER_LOG_LEVEL", "loud", r"^TAKEOVER_LOG_LEVEL: .*'warning' or 'error'\. Found: 'loud'$"),
        ("TAKEOVER_TLS_CERTIFICATE", __file__, "TAKEOVER_TLS_KEY.*must be set together"),
        ("TAKEOVER_TLS_KEY", __file__, "TAKEOVER_TLS_KEY.*must be set together"),
        ("TAKEOVER_TLS_KEY", "/nowhere", "TAKEOVER_TLS_KEY.*does not point to a file"),
        ("TAKEOVER_TRUSTED_PROXIES", "*", "TAKEOVER_TRUSTED_PROXIES"),
        ("TAKEOVER_TRUSTED_PROXIES", "192.0.2.0/24,proxy", "TAKEOVER_TRUSTED_PROXIES.*proxy"),
    ],
)
def test_a_bad_one_names_itself(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=words):
        settings.load()


def test_a_window_without_a_limit_is_none() -> None:
    assert dict(settings.Settings().rate_limits) == {10: 5000, 60: 20_000, 3600: 600_000, 86_400: 7_200_000}
    assert not settings.Settings(rate_limit=0, rate_limit_minute=0, rate_limit_hour=0, rate_limit_day=0).rate_limits


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEOVER_DATABASE_URL", "postgresql://u:needle@h/d")
    assert "needle" not in repr(settings.load())


def test_secrets_are_taken_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("DATABASE_URL", "postgresql://u:needle@h/d"), ("SECRET_KEY", "needle"), ("PORT", "9000")):
        monkeypatch.setenv(f"TAKEOVER_{name}", value)

    taken = settings.take()

    assert taken.secret_key.get_secret_value() == "needle"
    assert "needle" not in str(os.environ)
    assert os.environ["TAKEOVER_PORT"] == "9000"


def test_the_document_has_every_setting_with_its_default() -> None:
    document = (settings.PROJECT / "docs" / "settings.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `TAKEOVER_(\w+)` \| (.*?) \|", document, re.MULTILINE))
    defaults = {name: field.default for name, field in settings.Settings.model_fields.items()}
    assert set(documented) == {name.upper() for name in defaults}

    said = {"inventory": "`inventory` of the project", "secret_key": "generated"}
    for name, default in defaults.items():
        value = default.get_secret_value() if isinstance(default, SecretStr) else default
        text = str(value).lower().removesuffix(".0")
        assert documented[name.upper()] == said.get(name, f"`{text}`" if value not in (None, "") else "empty"), name


def test_the_document_has_every_variable_of_commands_and_plugins() -> None:
    document = (settings.PROJECT / "docs" / "settings.md").read_text(encoding="utf-8")
    sources = [*(settings.PROJECT / "service").rglob("*.py"), *settings.PROJECT.glob("pl*/**/*.py")]
    variable = re.compile(r"\bOBPROXY_TAKEOVER_[A-Z_]+\b")
    used = {name for path in sources for name in variable.findall(path.read_text(encoding="utf-8"))}
    documented = set(re.findall(r"^\| `(OBPROXY_TAKEOVER_\w+)`", document, re.MULTILINE))
    assert used - {FORMER_SECRET_FILE} == documented != set()


@pytest.mark.parametrize(
    ("url", "secret", "problem"),
    [
        ("ftp://example.test/", WEBHOOK_KEY, "TAKEOVER_NOTIFY_URL: it must be a URL with http or https"),
        ("https://example.test:99999/", WEBHOOK_KEY, "TAKEOVER_NOTIFY_URL: it must be a URL with http or"),
        ("https:///hook", WEBHOOK_KEY, "TAKEOVER_NOTIFY_URL: it must be a URL with http or https"),
        ("https://example.test/", "", "it and TAKEOVER_NOTIFY_URL must be set together"),
        ("", WEBHOOK_KEY, "it and TAKEOVER_NOTIFY_URL must be set together"),
        ("https://example.test/", "whsec_c2hvcnQ=", "it must be whsec_ and the base64 of 24 to 64 bytes"),
        ("https://example.test/", "hush" * 10, "it must be whsec_ and the base64 of 24 to 64 bytes"),
    ],
)
def test_a_webhook_needs_a_url_and_a_secret(
    monkeypatch: pytest.MonkeyPatch, url: str, secret: str, problem: str
) -> None:
    monkeypatch.setenv("TAKEOVER_NOTIFY_URL", url)
    monkeypatch.setenv("TAKEOVER_NOTIFY_SECRET", secret)

    with pytest.raises(SettingsInvalid) as error:
        settings.load()

    assert problem in str(error.value)
    assert not secret or secret not in str(error.value)
    assert "Found" not in str(error.value), "the URL may have a password"


def test_the_url_and_the_secret_of_webhooks_are_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEOVER_NOTIFY_URL", "https://key:hush@example.test/")
    monkeypatch.setenv("TAKEOVER_NOTIFY_SECRET", WEBHOOK_KEY)

    taken = settings.take()

    assert "hush" not in str(taken) and WEBHOOK_KEY not in str(taken)
    assert not {"TAKEOVER_NOTIFY_URL", "TAKEOVER_NOTIFY_SECRET"} & set(os.environ)
