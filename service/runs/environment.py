"""The part of a run's environment that is its own; the rest is its inventory's (`service/inventory/environment.py`)."""

from pathlib import Path


def of_run(directory: Path, ident: str, token: int) -> dict[str, str]:
    """What is a run's own: its private directory, its ident, and the token that only its own events carry."""
    return {
        "JOB_ID": str(token),
        "OBPROXY_TAKEOVER": ident,  # what the run starts on the host carries it on (playbooks/remains.yml)
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory / "cp"),
        "TMPDIR": str(directory),  # whatever a run leaves in its temporary directory goes with it
        **mark(directory),
    }


def mark(directory: Path) -> dict[str, str]:
    """The environment of every program that a run starts carries this, in whatever session, below whatever parent."""
    return {"ANSIBLE_LOCAL_TEMP": str(directory / "tmp")}
