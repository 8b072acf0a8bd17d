"""Parses the YAML files of playbooks and roles once, for all snapshots and runs that are forked from this process.

Imports Ansible, so only the fork server and its forks import this module.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader

FileIdentity = tuple[int, int, int, int]  # inode, mtime (ns), ctime (ns), size (bytes)


@dataclass(frozen=True, kw_only=True)
class ParsedFile:
    """The content of a file, which was parsed when the file had this identity."""

    identity: FileIdentity | None
    content: Any


_parsed: dict[tuple[str, bool], ParsedFile] = {}
"""Files by path, and by whether they are trusted as templates. A fork inherits them."""


class ParsingLoader(DataLoader):  # type: ignore[misc] # Ansible is untyped
    """A loader that uses the files which this process has parsed.

    Each content is handed out once, without a copy: a run is a process of its own, and may change what it gets. A file
    that has changed since then is read as usual, like every other file.
    """

    def parse(self, paths: Iterable[Path], *, trusted_as_template: bool) -> None:
        """Parse the files that are new or have changed, as Ansible does.

        Ignore those that cannot be parsed: a run that needs one reports the reason.
        """
        for path in paths:
            key, identity = (str(path), trusted_as_template), _identity(str(path))
            if key in _parsed and _parsed[key].identity == identity:
                continue
            with suppress(AnsibleError):
                # Unsafe means without a copy, which only a cache needs.
                content = self.load_from_file(
                    str(path), cache="none", unsafe=True, trusted_as_template=trusted_as_template
                )
                _parsed[key] = ParsedFile(identity=identity, content=content)

    def load_from_file(
        self,
        file_name: str,
        cache: str = "all",
        unsafe: bool = False,
        json_only: bool = False,
        trusted_as_template: bool = False,
    ) -> Any:
        """Return the content of a YAML file, see `DataLoader.load_from_file`."""
        if cache == "all" and not unsafe and not json_only:
            path = self.path_dwim(file_name)
            parsed = _parsed.get((path, trusted_as_template))
            if parsed and parsed.identity == _identity(path):
                return _parsed.pop((path, trusted_as_template)).content
        return super().load_from_file(file_name, cache, unsafe, json_only, trusted_as_template)


def parse_project(loader: ParsingLoader, project: Path) -> None:
    """Parse the playbooks of a project, and the defaults, rules and tasks of its roles."""
    loader.parse(_template_files(project), trusted_as_template=True)
    loader.parse(_argument_specs(project), trusted_as_template=False)


def template_contents() -> list[Any]:
    """Return the contents of the parsed files that are trusted as templates. The caller must not change them."""
    return [parsed.content for (_, is_trusted), parsed in _parsed.items() if is_trusted]


def _template_files(project: Path) -> Iterator[Path]:
    """Yield the playbooks of a project, and the defaults, rules and tasks of its roles: all files with templates."""
    yield from set((project / "playbooks").rglob("*.yml")) - _argument_specs(project)
    for directory in ("defaults", "rules", "tasks"):
        yield from (project / "roles").glob(f"*/{directory}/*.yml")


def _argument_specs(project: Path) -> set[Path]:
    return set((project / "playbooks").glob("*.meta.yml"))


def _identity(path: str) -> FileIdentity | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
