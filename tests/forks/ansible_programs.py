"""Server process of ansible-playbook and other programs of Ansible: the import is half of the CPU time of a play."""

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from service.inventory import preload

from .server import ROOT, serve


def _run(former: Mapping[str, str]) -> None:
    preload.read_settings(dict(former.items() ^ os.environ.items()))
    name = Path(sys.argv[0]).name.removeprefix("ansible-")
    importlib.import_module(f"ansible.cli.{name}").main(sys.argv)


if __name__ == "__main__":
    _actions = sorted((ROOT / "plugins" / "action").glob("*.py"))
    preload.import_ansible([f"{preload.COLLECTION}.{path.stem}" for path in _actions])
    serve(sys.argv[1], _run)
