"""The diagnosis of a task instance as one text."""

import io
import zipfile


def as_text(archive: bytes) -> str:
    """Return the files of a zip one after the other, each below its name."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return "\n".join(f"==> {name} <==\n{opened.read(name).decode()}" for name in opened.namelist())
