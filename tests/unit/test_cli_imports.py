"""Commands that call a service start quickly: they import nothing of its server and of its database."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from service.cli.main import main
try:
    main(sys.argv[1:], standalone_mode=False)
finally:
    print(sorted({"procrastinate", "psycopg", "pydantic_settings", "starlette", "uvicorn"} & sys.modules.keys()))
"""


@pytest.mark.parametrize(
    ("arguments", "imports_them"),
    [(["--help"], False), (["tasks", "--url", "http://127.0.0.1:1"], False), (["user", "--help"], True)],
)
def test_only_commands_that_use_the_database_import_its_modules(arguments: list[str], imports_them: bool) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True)
    last = done.stdout.splitlines()[-1]
    assert last.startswith("['procrastinate', 'psycopg'" if imports_them else "[]"), done.stderr
