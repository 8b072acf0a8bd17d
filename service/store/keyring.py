"""Secrets at rest: encrypted with a key that is not in the database, and the files that hold first secrets."""

import hmac
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from service.model.errors import DecryptionFailed, SettingsInvalid

ADMIN_PASSWORD = "admin-password"  # noqa: S105 - the file's name
KEY_FILE = "secret-key"


class Secrets:
    """Encrypts with the first of its keys, decrypts with any.

    `keys` are words in one text. With `file`, they are what that holds at any time: a process that runs while keys are
    exchanged goes on with the new ones.
    """

    def __init__(self, keys: SecretStr, file: Path | None = None) -> None:
        self.file = file
        self._stamp = _stamp(file)
        self._keys, self._fernets = _read(keys)

    def encrypt(self, secret: SecretStr) -> bytes:
        """The ciphertext of `secret`."""
        return MultiFernet(self._current()).encrypt(secret.get_secret_value().encode())

    def decrypt(self, ciphertext: bytes) -> SecretStr:
        """What was encrypted; raises DecryptionFailed when it was with none of the keys."""
        try:
            return SecretStr(MultiFernet(self._current()).decrypt(ciphertext).decode())
        except InvalidToken:
            raise DecryptionFailed from None

    def sealed(self, ciphertexts: Mapping[str, bytes]) -> "Sealed":
        """Ciphertexts by name, to be opened in another process; it gets no key for nothing."""
        if not ciphertexts:
            return Sealed()
        self._current()
        return Sealed(ciphertexts=ciphertexts, keys=SecretStr(b" ".join(self._keys).decode()))

    def renew(self, ciphertext: bytes) -> bytes | None:
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
        stamp = _stamp(self.file)
        if self.file is not None and stamp is not None and stamp != self._stamp:
            self._keys, self._fernets = _read(SecretStr(self.file.read_text(encoding="utf-8")))
            self._stamp = stamp
        return self._fernets


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """Secrets by name as the database has them, with the keys: whoever hands them on does not open them."""

    ciphertexts: Mapping[str, bytes] = field(default_factory=dict)
    keys: SecretStr = field(default_factory=lambda: SecretStr(""))

    def open(self) -> dict[str, SecretStr]:
        """The secrets; raises DecryptionFailed."""
        vault = Secrets(self.keys)
        return {name: vault.decrypt(ciphertext) for name, ciphertext in self.ciphertexts.items()}


def load(configured: SecretStr, directory: Path) -> Secrets:
    """With the configured keys, or those in `directory`/secret-key, of which one is made when it is not there."""
    if configured.get_secret_value():
        return Secrets(configured)
    path = directory / KEY_FILE
    return Secrets(SecretStr(keep(path, Fernet.generate_key().decode())), path)


def add_key(path: Path) -> None:
    """Put a new key before those in a file; they go on being there. A reader sees the former file or the new one."""
    _replace(path, [Fernet.generate_key().decode(), *path.read_text(encoding="utf-8").split()])


def drop_keys(path: Path) -> int:
    """Leave only the first of the keys in a file; how many went."""
    first, *others = path.read_text(encoding="utf-8").split()
    if others:
        _replace(path, [first])
    return len(others)


def _replace(path: Path, keys: Sequence[str]) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    keep(temporary, "\n".join(keys))
    temporary.replace(path)


def _read(keys: SecretStr) -> tuple[list[bytes], list[Fernet]]:
    words = [word.encode() for word in keys.get_secret_value().split()]
    try:
        return words, [Fernet(word) for word in words]
    except ValueError as error:
        raise SettingsInvalid(reason=f"TAKEOVER_SECRET_KEY: {error}") from None


def _stamp(file: Path | None) -> tuple[int, int] | None:
    """What is another after a file was replaced; None when it is not there."""
    try:
        stat = file.stat() if file else None
    except FileNotFoundError:
        return None
    return (stat.st_ino, stat.st_mtime_ns) if stat else None


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
