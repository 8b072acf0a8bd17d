"""Everything about a host that a takeover might change, to compare it before and after."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from .host import LabHost
from .lab import Lab
from .tunnel import admin

State = Mapping[str, object]
_LOOK = """
prune=(-path '*/.cache' -o -path '*/.ansible' -o -path '*/log' -o -path '*/etc/proxyconfig*' -o -path '*/.viminfo'
    -o -path /etc/obproxy-simulation.json -o -path '*/python3*')
places=(/etc /var/lib/obproxy-takeover /home /opt /root /tmp)
find "${places[@]}" -xdev \\( "${prune[@]}" \\) -prune -o \\
    -printf '%p %y %M %U:%G %l\\n' 2>/dev/null | sort
find /var/lib -mindepth 1 -maxdepth 1 -printf '%p %y %M %U:%G\\n' | sort
echo ---
find "${places[@]}" -xdev \\( "${prune[@]}" \\) -prune -o \\
    -type f -print0 2>/dev/null | sort -z | xargs -0 sha256sum
echo ---
for p in $(pgrep -x obproxy; pgrep -x obproxyd.sh); do
    # A child of the watchdog is about to be its nc or sleep.
    grep -qx obproxy /proc/$p/comm || ! grep -qx obproxyd.sh /proc/$(cut -d' ' -f4 /proc/$p/stat)/comm || continue
    echo $p $(cut -d' ' -f22 /proc/$p/stat) "$(tr '\\0' ' ' < /proc/$p/cmdline)"
done
echo ---
rpm -qa | sort
"""


def state_of(lab: Lab, host: LabHost, password: str) -> State:
    """Return the state of a host and its OBProxy.

    - files, hashes: path, kind, mode, owner and hash of all files below the directories of the OBProxy and the
      takeover. The proxy's log and store are left out; the store's contents are in `parameters`.
    - processes: pid, start time and command line of the proxy and its watchdog
    - parameters: the output of the proxy's admin SQL, passwords as hashes; `password` is that of root@proxysys
    - packages: the packages that rpm lists
    """
    names = ("files", "hashes", "processes", "packages")
    parts = (part.splitlines() for part in host.run(_LOOK).split("---\n"))
    return dict(zip(names, parts, strict=True)) | {"parameters": parameters_of(lab, host, password)}


def states_of(lab: Lab, hosts: Mapping[str, LabHost], password: str) -> Mapping[str, State]:
    """Return the states of several hosts at once."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = pool.map(lambda host: state_of(lab, host, password), hosts.values())
        return dict(zip(hosts, found, strict=True))


def parameters_of(lab: Lab, host: LabHost, password: str) -> dict[str, str]:
    """Name and value of every parameter, without what the proxy counts by itself."""
    with admin(lab, host, password) as connection, connection.cursor() as cursor:
        cursor.execute("show proxyconfig")
        return {row[0]: row[1] for row in cursor.fetchall() if not row[0].startswith("json_config_modified")}


def differing(before: State, after: State) -> str:
    """Return the differences, for the message of an assertion."""
    told = {key: [value, after[key]] for key, value in before.items() if value != after[key]}
    return json.dumps(told, indent=1)
