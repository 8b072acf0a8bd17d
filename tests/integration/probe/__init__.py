"""Records the variables of a host in a run of the service and in a direct run of ansible-playbook."""

import asyncio
import json
import urllib.parse
from pathlib import Path
from typing import Any

from service.inventory import environment, reader
from service.inventory.reader import Inventory
from service.inventory.records import Host
from service.model.settings import RunStart
from service.runs import run
from service.runs.spec import RunInputs, RunSpec
from tests.forks.server import Server
from tests.integration.sample_inventories import SampleInventory
from tests.roles.playing import PROGRAM, run_program

PLAYBOOK = Path(__file__).with_name("probe.yml")
REQUESTED = {"obproxy_sql_port", "obproxy_cluster_id", "obproxy_cluster_name", "probe_directory"}
"""Extra variables: the request's, and the probe's own."""
OWN = {*REQUESTED, "omit", "vars", "hostvars", "ansible_facts"}
OWN_OPTIONS = {"control_path_dir", "_"}  # each run has its own directory for the sockets of ssh
DEADLINE = 60.0  # seconds a run may take

Seen = dict[str, Any]


async def by_service(
    sample: SampleInventory, directory: Path, *, start: RunStart = "forked", cluster: int | None = None
) -> Seen:
    """Return what a run of the service sees of a host."""
    found = await reader.read(sample.source, sample.vault, environment.selected(sample.names))
    host = by_name(found, sample.host)
    into = found.clusters[cluster or int(host.variables["obproxy_cluster_id"])]
    directory.mkdir()
    inputs = RunInputs(host=host, cluster=into, sql_port=2883, variables={"probe_directory": str(directory)})
    spec = RunSpec(ident="probe", playbook=PLAYBOOK, roles=("probe",), inputs=inputs, start=start, lease=DEADLINE)
    started = run.start(spec, found.snapshot)
    said = []
    async with asyncio.timeout(DEADLINE):
        async for batch, end in started.batches():
            said += [str(event.get("stdout")) for event in batch]
            if end is not None:
                assert end.rc == 0, (end, said)
    return recorded_values(directory, sample.host)


def directly(sample: SampleInventory, directory: Path, server: Server | None = None) -> Seen:
    """Return what `ansible-playbook -i SOURCE -l HOST` sees of a host, as a program or as a fork of a server."""
    directory.mkdir()
    command = [
        *(str(PROGRAM), "-i", str(sample.source), str(PLAYBOOK), "--tags", "probe"),
        *("-e", json.dumps({"probe_directory": str(directory)}), "--limit", sample.host),
    ]
    own = {**environment.common(), **environment.for_inventory(sample.vault, environment.selected(sample.names))}
    output = directory.with_suffix(".output")
    rc = (server.run if server else run_program)(command, own, output, DEADLINE)
    assert rc == 0, output.read_text(encoding="utf-8")
    return recorded_values(directory, sample.host)


def by_name(found: Inventory, name: str) -> Host:
    """Return the host with a name."""
    return next(host for host in found.hosts.values() if host.name == name)


def recorded_values(directory: Path, name: str) -> Seen:
    """Return what was written about a host, without what each run has of its own."""
    (path,) = directory.iterdir()
    assert path.name == f"{urllib.parse.quote(name, safe='')}.json", "the run is about this host alone"
    whole: Seen = json.loads(path.read_text(encoding="utf-8"))
    for variables in (whole["variables"], *whole["hostvars"].values()):
        for own in OWN & variables.keys():
            del variables[own]
        python = Path(variables["ansible_playbook_python"])
        variables["ansible_playbook_python"] = str(python.parent.resolve() / python.name)
    for option in OWN_OPTIONS & whole["connection"].keys():
        del whole["connection"][option]
    return whole
