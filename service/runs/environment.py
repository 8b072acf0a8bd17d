"""Environment variables that each run has of its own. `service/inventory/environment.py` has the others."""

from pathlib import Path


def for_run(directory: Path, ident: str, token: int) -> dict[str, str]:
    """Return a run's own variables: paths in its private directory, its ident, and the token of its events."""
    return {
        "JOB_ID": str(token),
        "OBPROXY_TAKEOVER": ident,  # inherited by processes on the host; playbooks/leftovers.yml finds them by it
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory / "cp"),
        "TMPDIR": str(directory),  # temporary files are removed together with the directory
        **process_marker(directory),
    }


def process_marker(directory: Path) -> dict[str, str]:
    """Return the variable that identifies every program of a run, in any session and below any parent."""
    return {"ANSIBLE_LOCAL_TEMP": str(directory / "tmp")}
