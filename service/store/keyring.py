"""Secrets at rest: encrypted with a key that is not in the database, and the files that hold first secrets."""

import hmac
import logging
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from service.model.errors import DecryptionFailed, SettingsInvalid, StartRefused
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

    `keys` are words in one text. With `file`, they are what that holds at any time: a process that runs while keys are
    exchanged goes on with the new ones.
    """

    def __init__(self, keys: SecretStr, file: Path | None = None) -> None:
        self.file = file
        self._file_version = _file_version(file)
        self._keys, self._fernets = _parse(keys, file)

    def encrypt(self, secret: SecretStr) -> bytes:
        """The ciphertext of `secret`."""
        return MultiFernet(self._current()).encrypt(secret.get_secret_value().encode())

    def decrypt(self, ciphertext: bytes) -> SecretStr:
        """What was encrypted; raises DecryptionFailed when it was with none of the keys."""
        try:
            return SecretStr(MultiFernet(self._current()).decrypt(ciphertext).decode())
        except InvalidToken:
            raise DecryptionFailed from None

    def bundle(self, ciphertexts: Mapping[str, bytes]) -> "EncryptedSecrets":
        """Ciphertexts by name, to be opened in another process; it gets no key for nothing."""
        if not ciphertexts:
            return EncryptedSecrets()
        self._current()
        return EncryptedSecrets(ciphertexts=ciphertexts, keys=SecretStr(b" ".join(self._keys).decode()))

    def reencrypt(self, ciphertext: bytes) -> bytes | None:
        """The same secret encrypted with the first key; None when it is already. Raises DecryptionFailed."""
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
        """Keyed hashes, one for each key: they tell equal texts, and nothing about a secret in one without the key."""
        self._current()
        return [hmac.digest(key, text.encode(), "sha256") for key in self._keys]

    def _current(self) -> Sequence[Fernet]:
        version = _file_version(self.file)
        if self.file is not None and version is not None and version != self._file_version:
            self._file_version = version
            try:
                self._keys, self._fernets = _parse(SecretStr(secret_files.read(self.file)), self.file)
            except (StartRefused, FileNotFoundError) as error:  # the keys that were read before remain right
                log.warning("The former keys stay in use: %s", error, extra={"action": "keys_unreadable"})
        return self._fernets


@dataclass(frozen=True, kw_only=True)
class EncryptedSecrets:
    """Secrets by name as the database has them, with the keys: whoever hands them on does not open them."""

    ciphertexts: Mapping[str, bytes] = field(default_factory=dict)
    keys: SecretStr = field(default_factory=lambda: SecretStr(""))

    def decrypt(self) -> dict[str, SecretStr]:
        """The secrets; raises DecryptionFailed."""
        if not self.ciphertexts:
            return {}
        vault = Secrets(self.keys)
        return {name: vault.decrypt(ciphertext) for name, ciphertext in self.ciphertexts.items()}


def load(configured: SecretStr, directory: Path) -> Secrets:
    """Return the configured keys, or those in `directory`/secret-key, of which one is made when the file is absent.

    Raise StartRefused when the file has no keys or cannot be written, SettingsInvalid when the setting is bad.
    """
    if configured.get_secret_value():
        return Secrets(configured)
    path = directory / KEY_FILE
    return Secrets(SecretStr(_read_or_create(path, Fernet.generate_key().decode())), path)


def add_key(path: Path) -> None:
    """Put a new key before those in a file; they go on being there. A reader sees the former file or the new one."""
    secret_files.replace(path, "\n".join([Fernet.generate_key().decode(), *_keys_in(path)]))


def remove_old_keys(path: Path) -> int:
    """Leave only the first of the keys in a file; how many went."""
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
        fault = "holds something else than keys" if words else "is empty"
        raise StartRefused(reason=_BAD_KEY_FILE.format(path=file, fault=fault)) from None


def _file_version(file: Path | None) -> tuple[int, int] | None:
    """What is another after a file was replaced; None when it is not there."""
    try:
        stat = file.stat() if file else None
    except FileNotFoundError:
        return None
    return (stat.st_ino, stat.st_mtime_ns) if stat else None


def admin_password(directory: Path) -> tuple[Path, str]:
    """Return the file with the administrator's first password and its text; make it when it is absent."""
    path = directory / ADMIN_PASSWORD
    return path, _read_or_create(path, secrets.token_urlsafe(18))


def _read_or_create(path: Path, secret: str) -> str:
    """Return the secret in `path`; write `secret` there first when there is no such file."""
    while not secret_files.write_new(path, secret):
        with suppress(FileNotFoundError):  # removed by another process since
            return secret_files.read(path)
    return secret
