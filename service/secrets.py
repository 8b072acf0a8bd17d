"""Secrets at rest: encrypted with a key that is not in the database, and the files that hold first secrets."""

import hmac
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr

from service.errors import DecryptionFailed, SettingsInvalid

ADMIN_PASSWORD = "admin-password"  # noqa: S105 - the file's name


class Secrets:
    """Encrypts and decrypts with one key."""

    def __init__(self, key: SecretStr) -> None:
        self._key = key.get_secret_value().encode()
        try:
            self._fernet = Fernet(self._key)
        except ValueError as error:
            raise SettingsInvalid(reason=f"TAKEOVER_SECRET_KEY: {error}") from None

    def encrypt(self, secret: SecretStr) -> bytes:
        """The ciphertext of `secret`."""
        return self._fernet.encrypt(secret.get_secret_value().encode())

    def fingerprint(self, text: str) -> bytes:
        """A keyed hash: tells equal texts, and nothing about a secret in one without the key."""
        return hmac.digest(self._key, text.encode(), "sha256")

    def decrypt(self, ciphertext: bytes) -> SecretStr:
        """What was encrypted; raises DecryptionFailed when it was with another key."""
        try:
            return SecretStr(self._fernet.decrypt(ciphertext).decode())
        except InvalidToken:
            raise DecryptionFailed from None


def load_key(configured: SecretStr, directory: Path) -> SecretStr:
    """The configured key, or the one in `directory`/secret-key, which is made when it is not there."""
    if configured.get_secret_value():
        return configured
    return SecretStr(keep(directory / "secret-key", Fernet.generate_key().decode()))


def admin_password(directory: Path) -> Path:
    """The file with the administrator's first password, made when it is not there."""
    path = directory / ADMIN_PASSWORD
    keep(path, secrets.token_urlsafe(18))
    return path


def keep(path: Path, secret: str) -> str:
    """The secret in `path`; `secret` is written there first, mode 0600, when there is no such file."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="utf-8").strip()
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secret + "\n")
    return secret
