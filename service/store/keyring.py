"""Encrypts secrets for the database with keys from outside it, and creates the key and password files."""

import hmac
import logging
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from service.model.errors import DecryptionFailed, SettingsInvalid, StartFailed
from service.store import secret_files

log = logging.getLogger(__name__)

ADMIN_PASSWORD = "admin-password"  # noqa: S105 - the file's name
KEY_FILE = "secret-key"
_BAD_KEY_FILE = (
    "{path} {fault}. Restore the file from a backup; remove it only if the database has no secrets yet, and a new key "
    "is made."
)


class Secrets:
    """Encrypts with the first of its keys, decrypts with any.

    `keys` are separated by white space. With `file`, the keys are read again whenever the file changes, so that a key
    rotation needs no restart.
    """

    def __init__(self, keys: SecretStr, file: Path | None = None) -> None:
        self.file = file
        self._file_version = _file_version(file)
        self._keys, self._fernets = _parse(keys, file)

    def encrypt(self, secret: SecretStr) -> bytes:
        """Return the ciphertext of `secret`."""
        return MultiFernet(self._current()).encrypt(secret.get_secret_value().encode())

    def decrypt(self, ciphertext: bytes) -> SecretStr:
        """Return the plain text; raise DecryptionFailed when none of the keys fits."""
        try:
            return SecretStr(MultiFernet(self._current()).decrypt(ciphertext).decode())
        except InvalidToken:
            raise DecryptionFailed from None

    def bundle(self, ciphertexts: Mapping[str, bytes]) -> "EncryptedSecrets":
        """Return ciphertexts by name with the keys, for another process; without ciphertexts, no keys."""
        if not ciphertexts:
            return EncryptedSecrets()
        self._current()
        return EncryptedSecrets(ciphertexts=ciphertexts, keys=SecretStr(b" ".join(self._keys).decode()))

    def reencrypt(self, ciphertext: bytes) -> bytes | None:
        """Return the secret encrypted with the first key, None when it already is; raise DecryptionFailed."""
        first, *_ = fernets = self._current()
        try:
            first.decrypt(ciphertext)
        except InvalidToken:
            try:
                return MultiFernet(fernets).rotate(ciphertext)
            except InvalidToken:
                raise DecryptionFailed from None
        return None

    def fingerprints(self, text: str) -> list[bytes]:
        """Return keyed hashes (HMAC-SHA256) of a text, one per key: they show equal texts, but reveal no secret."""
        self._current()
        return [hmac.digest(key, text.encode(), "sha256") for key in self._keys]

    def _current(self) -> Sequence[Fernet]:
        version = _file_version(self.file)
        if self.file is not None and version is not None and version != self._file_version:
            self._file_version = version
            try:
                self._keys, self._fernets = _parse(SecretStr(secret_files.read(self.file)), self.file)
            except (StartFailed, FileNotFoundError) as error:  # the keys from before stay valid
                log.warning(
                    "The key file cannot be read; the keys from before stay in use: %s",
                    error,
                    extra={"action": "keys_unreadable"},
                )
        return self._fernets


@dataclass(frozen=True, kw_only=True)
class EncryptedSecrets:
    """Ciphertexts by name with their keys. The worker passes them to a run without decrypting them."""

    ciphertexts: Mapping[str, bytes] = field(default_factory=dict)
    keys: SecretStr = field(default_factory=lambda: SecretStr(""))

    def decrypt(self) -> dict[str, SecretStr]:
        """Return the plain texts by name; raise DecryptionFailed."""
        if not self.ciphertexts:
            return {}
        vault = Secrets(self.keys)
        return {name: vault.decrypt(ciphertext) for name, ciphertext in self.ciphertexts.items()}


def load(configured: SecretStr, directory: Path) -> Secrets:
    """Return the configured keys, else those in `directory`/secret-key; create the file with one key if missing.

    Raise StartFailed when the file has no keys or cannot be written, SettingsInvalid when the setting is bad.
    """
    if configured.get_secret_value():
        return Secrets(configured)
    path = directory / KEY_FILE
    return Secrets(SecretStr(_read_or_create(path, Fernet.generate_key().decode())), path)


def add_key(path: Path) -> None:
    """Put a new key before those in a file. The file is replaced atomically."""
    secret_files.replace(path, "\n".join([Fernet.generate_key().decode(), *_keys_in(path)]))


def remove_old_keys(path: Path) -> int:
    """Keep only the first key in a file; return the number of removed keys."""
    first, *others = _keys_in(path)
    if others:
        secret_files.replace(path, first)
    return len(others)


def _keys_in(path: Path) -> list[str]:
    keys, _ = _parse(SecretStr(secret_files.read(path)), path)
    return [key.decode() for key in keys]


def _parse(keys: SecretStr, file: Path | None) -> tuple[list[bytes], list[Fernet]]:
    words = [word.encode() for word in keys.get_secret_value().split()]
    try:
        if not words:
            raise ValueError("There is no key.")
        return words, [Fernet(word) for word in words]
    except ValueError as error:
        if file is None:
            raise SettingsInvalid(reason=f"TAKEOVER_SECRET_KEY: {error}") from None
        fault = "has an invalid key" if words else "is empty"
        raise StartFailed(reason=_BAD_KEY_FILE.format(path=file, fault=fault)) from None


def _file_version(file: Path | None) -> tuple[int, int] | None:
    """Return inode and modification time, which change when the file is replaced; None when it is missing."""
    try:
        stat = file.stat() if file else None
    except FileNotFoundError:
        return None
    return (stat.st_ino, stat.st_mtime_ns) if stat else None


def admin_password(directory: Path) -> tuple[Path, str]:
    """Return the path and the text of the file with the administrator's first password; create it if missing."""
    path = directory / ADMIN_PASSWORD
    return path, _read_or_create(path, secrets.token_urlsafe(18))


def _read_or_create(path: Path, secret: str) -> str:
    """Return the secret in a file; create the file with `secret` if missing."""
    while not secret_files.write_new(path, secret):
        with suppress(FileNotFoundError):  # another process has removed it
            return secret_files.read(path)
    return secret
