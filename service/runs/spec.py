"""Describes a run. The worker makes the description; the run's child process receives it pickled."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.inventory.records import Cluster, Host
from service.model.settings import RunStart
from service.store.keyring import EncryptedSecrets

LEASE_DURATION = 20.0  # seconds until a run whose lease was not renewed terminates itself


@dataclass(frozen=True, kw_only=True)
class RunInputs:
    """The host of a run and its values: references to the inventory, and what the request contains.

    A run without a `cluster` discovers a host that is in none.
    """

    host: Host
    cluster: Cluster | None
    sql_port: int
    allow_restart: bool | None = None  # from the request; None = the inventory decides
    encrypted_secrets: EncryptedSecrets = field(default_factory=EncryptedSecrets)
    variables: Mapping[str, object] = field(default_factory=dict)  # further extra variables of the playbook


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Describes one run of a playbook on one host."""

    ident: str
    playbook: Path
    roles: Sequence[str]  # the tags to run, in playbook order; empty = the whole playbook
    inputs: RunInputs
    check: bool = False  # in check mode: nothing is changed
    start: RunStart = "forked"
    token: int = field(default_factory=lambda: secrets.randbits(62), repr=False)
    """Secret that Ansible's callback puts into every event as `job_id`, which proves that the event is authentic.

    See docs/reference/ansible-runner.md E.12.
    """
    renewed: float = field(default_factory=time.monotonic)
    """Monotonic time of the last known lease renewal."""
    lease: float = LEASE_DURATION
    """Seconds that the lease lasts after a renewal."""
