"""Writes and reads files with secrets: atomically, with mode 0600."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.model.errors import StartFailed


def write_new(path: Path, text: str) -> bool:
    """Write a new file; return False when it exists. Raise StartFailed when it cannot be written."""
    with _temporary(path, text) as temporary:
        try:
            os.link(temporary, path, follow_symlinks=False)
        except FileExistsError:
            return False
        _sync(path.parent)
    return True


def replace(path: Path, text: str) -> None:
    """Replace a file. Raise StartFailed when it cannot be written."""
    with _temporary(path, text) as temporary:
        temporary.replace(path)
        _sync(path.parent)


def read(path: Path) -> str:
    """Return the text of a file, stripped. Raise StartFailed when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise StartFailed(reason=f"{path} is not text. Restore the file from a backup.") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StartFailed(reason=f"{path} cannot be read: {error.strerror}. Let this user read the file.") from None


@contextmanager
def _temporary(path: Path, text: str) -> Iterator[Path]:
    """Write a complete temporary file beside `path`, removed at the end of the block."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except OSError as error:
        reason = (
            f"{path} cannot be written: {error.strerror}. Make room for it in a directory that this user can change."
        )
        raise StartFailed(reason=reason) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
