"""The keyring: which key encrypts, and that a running process follows a rotation."""

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from service.model.errors import DecryptionFailed, SettingsInvalid
from service.store import keyring
from service.store.keyring import Secrets

NEEDLE = SecretStr("Needle#1")
OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


def test_the_first_key_encrypts_and_any_decrypts() -> None:
    former, both, new = Secrets(SecretStr(OLD)), Secrets(SecretStr(f"{NEW} {OLD}")), Secrets(SecretStr(NEW))
    old_text, new_text = former.encrypt(NEEDLE), both.encrypt(NEEDLE)

    assert both.decrypt(old_text) == both.decrypt(new_text) == new.decrypt(new_text) == NEEDLE
    with pytest.raises(DecryptionFailed):
        former.decrypt(new_text)


def test_sealed_secrets_are_opened_elsewhere_by_keys_that_go_with_them() -> None:
    both = Secrets(SecretStr(f"{NEW} {OLD}"))
    sealed = both.bundle({"one": both.encrypt(NEEDLE), "other": Secrets(SecretStr(OLD)).encrypt(NEEDLE)})

    assert sealed.decrypt() == {"one": NEEDLE, "other": NEEDLE}
    assert not any(secret in repr(sealed) for secret in (NEW, OLD, NEEDLE.get_secret_value()))
    assert not both.bundle({}).keys.get_secret_value(), "nothing to open, no key"


def test_renewing_applies_to_values_of_other_keys() -> None:
    both = Secrets(SecretStr(f"{NEW} {OLD}"))
    renewed = both.reencrypt(Secrets(SecretStr(OLD)).encrypt(NEEDLE))

    assert renewed is not None and both.reencrypt(renewed) is None
    assert Secrets(SecretStr(NEW)).decrypt(renewed) == NEEDLE
    with pytest.raises(DecryptionFailed):
        both.reencrypt(Secrets(SecretStr(Fernet.generate_key().decode())).encrypt(NEEDLE))


def test_a_text_is_recognised_with_a_former_key() -> None:
    (former,) = Secrets(SecretStr(OLD)).fingerprints("text")

    assert former in Secrets(SecretStr(f"{NEW} {OLD}")).fingerprints("text")
    assert former not in Secrets(SecretStr(NEW)).fingerprints("text")


def test_a_running_process_follows_the_file(tmp_path: Path) -> None:
    running = keyring.load(SecretStr(""), tmp_path)
    file = tmp_path / "secret-key"
    before = running.encrypt(NEEDLE)

    keyring.add_key(file)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert running.decrypt(before) == NEEDLE and running.reencrypt(before) is not None
    after = running.encrypt(NEEDLE)
    assert keyring.remove_old_keys(file) == 1 and keyring.remove_old_keys(file) == 0
    assert running.decrypt(after) == NEEDLE
    with pytest.raises(DecryptionFailed):
        running.decrypt(before)
    assert [path.name for path in tmp_path.iterdir()] == ["secret-key"]
    file.unlink()
    assert running.decrypt(after) == NEEDLE, "it goes on with what it knows"


def test_a_setting_without_a_key_is_rejected() -> None:
    with pytest.raises(SettingsInvalid, match="TAKEOVER_SECRET_KEY: There is no key"):
        Secrets(SecretStr(" "))


def test_a_bad_key_names_the_setting_and_not_itself() -> None:
    with pytest.raises(SettingsInvalid, match="TAKEOVER_SECRET_KEY") as refusal:
        Secrets(SecretStr("needle"))

    assert "needle" not in str(refusal.value)
