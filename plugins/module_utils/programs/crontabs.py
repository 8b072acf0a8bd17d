"""Part of host programs: reads the crontab lines that start or check an OBProxy."""

# ruff: noqa: PTH118

import os
import re

try:  # noqa: SIM105
    from .files import names_of, read_regular, walk
except ImportError:  # on the host all parts are one text
    pass

CRONTABS = ("/etc/cron.d", "/var/spool/cron", "/var/spool/cron/crontabs", "/var/spool/cron/tabs")
CRONTAB_LIMIT = 64 * 1024
CRON_LINE_LIMIT = 1000  # characters; any user can write a crontab, and the search of a long line takes seconds
JOB_LIMIT = 20
SHARED = ("", "/", "/usr", "/usr/local")  # their directory `bin` has other programs too
PROGRAM = re.compile(r"[\w-]*obproxy[\w-]*\.(?:sh|py|pl)|obproxyd?")
CRON_JOB = re.compile(r"\bobproxyd\.sh\b|\bobproxy[\w-]*\.(?:sh|py|pl)\b|\b(?:pgrep|pidof|ps)\b.*\bobproxy\b")

ONCE = re.compile(r"@reboot(?!.*\b(?:while|until)\b)")  # at the start of cron, without a loop

# A command that starts ./bin/obproxy, or ./obproxy, in its current directory.
RELATIVE_START = re.compile(
    r"(?:[;&|({]|-c\s+[\"']|\b(?:do|else|env|exec|nohup|setsid|then)\s|\b(?:flock|sudo)\s+(?:-\w+\s+)*[^\s;&|]+\s)"
    r"\s*(?:\w+=[^\s;&|({]*\s+)*(?:\./(?:bin/)?|bin/)obproxyd?(?![\w./-])"
)


def cron_jobs_of(homes: "list[str]") -> "list[dict[str, str]]":
    """Return the crontab lines that repeatedly start or check an OBProxy in one of these homes.

    A line with @reboot and without a loop supervises nothing: it does not start an OBProxy that has exited.
    """
    found = []
    for path, text in crontabs():
        if "obproxy" in text or any(home in text for home in homes):
            lines = [line.strip()[:CRON_LINE_LIMIT] for line in text.splitlines() if not line.lstrip().startswith("#")]
            found += [{"file": path, "line": programs_in(line, homes)} for line in lines if starts_obproxy(line, homes)]
    return found[:JOB_LIMIT]


def starts_obproxy(line: str, homes: "list[str]") -> bool:
    """Return whether a crontab line repeatedly runs a program in one of the homes, or one named after OBProxy."""
    if ONCE.match(line):
        return False
    if any(program in line for program in programs_of(homes)) or CRON_JOB.search(line):
        return True
    return enters(line, homes) and bool(RELATIVE_START.search(line))


def enters(line: str, homes: "list[str]") -> bool:
    """Return whether a crontab line changes to one of the homes, or to its directory `bin`."""
    places = [match.rstrip("/") for match in re.findall(r"\bcd\s+[\"']?([^\s\"';&|)]+)", line)]
    return any(place in (home, home + "/bin") for place in places for home in homes)


def programs_of(homes: "list[str]") -> "list[str]":
    """Return what the paths of the programs in these homes start with."""
    of_home = [home + "/bin/obproxy" for home in homes]
    return of_home + [home + below for home in homes if home not in SHARED for below in ("/bin/", "/obproxyd.sh")]


def programs_in(line: str, homes: "list[str]") -> str:
    """Return the homes in a crontab line, and the programs in them or of OBProxy; any other word may be a secret."""
    words = [word.strip("\"'`();&|") for word in line.split()]
    of_home = tuple(programs_of(homes))
    shown = [
        word for word in words if word in homes or word.startswith(of_home) or PROGRAM.fullmatch(word.split("/")[-1])
    ]
    return " ".join(word for word in shown if not set(word) & set("=@:"))[:200]


def crontabs() -> "list[tuple[str, str]]":
    """Return the paths and texts of the host's crontabs."""
    return [*texts_in("/etc", ["crontab"]), *(one for place in CRONTABS for one in texts_in(place))]


def texts_in(place: str, names: "list[str] | None" = None) -> "list[tuple[str, str]]":
    """Return the paths and texts of the crontabs in a directory, or of those with these names.

    As cron does, it reads only regular files without a second hard link. A group may write to such a directory, so an
    entry can be a link to any file.
    """
    try:
        directory = walk(place)
    except OSError:
        return []
    found = []
    try:
        for name in names_of(directory) if names is None else names:
            try:
                state, text = read_regular(directory, name, CRONTAB_LIMIT)
            except OSError:
                continue
            if state.st_nlink == 1:
                found.append((os.path.join(place, name), text))
    except OSError:
        return found
    finally:
        os.close(directory)
    return found
