"""The files, settings and commands that deploy/ names exist."""

import re
import tomllib
from pathlib import Path

import pytest

from service.model.settings import PREFIX, PROJECT, Settings

DEPLOY = PROJECT / "deploy"
FILES = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()]
SETTINGS = {PREFIX + name.upper() for name in Settings.model_fields}
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_every_setting_in_it_is_one(path: Path) -> None:
    assert set(re.findall(rf"\b{PREFIX}[A-Z_]+", path.read_text())) <= SETTINGS


def test_the_image_is_made_of_all_that_the_wheel_is_made_of() -> None:
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.*)$", CONTAINERFILE, re.MULTILINE) for word in line.split()[:-1]
    }
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert copied == {
        *("pyproject.toml", "requirements.lock", project["project"]["readme"]),
        *wheel["only-include"],
        *wheel["force-include"],
    }
    assert all((PROJECT / word).exists() for word in copied)


def test_the_image_starts_the_installed_command_as_an_ordinary_user() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    (program,) = project["scripts"]
    assert f'ENTRYPOINT ["tini", "--", "{program}"]' in CONTAINERFILE
    assert re.search(r"^USER (?!root)", CONTAINERFILE, re.MULTILINE)


def test_the_lock_s_versions_are_left_when_its_hashes_are_taken_out() -> None:
    """As the image does by sed: pip takes no constraint with a hash beside a wheel without one."""
    lines = (PROJECT / "requirements.lock").read_text().splitlines()
    left = [re.sub(r" *\\$", "", line) for line in lines if not re.match(r" +--hash", line)]
    pins = [line for line in left if line and not line.lstrip().startswith("#")]
    assert len(pins) > 50
    assert all(re.fullmatch(r"[a-zA-Z0-9._-]+(\[[^]]+\])?==\S+( ; .+)?", line) for line in pins)
