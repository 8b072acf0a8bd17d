"""The states a host can be started in, each made by the smallest real means.

A state is a bash script that runs on the host before its sshd starts, on top of _PRELUDE. A script has the variables
$home and $port of the OBProxy, $cluster (the OBProxy cluster's name), $url (its config server).
"""

from dataclasses import dataclass

from .inventory import CLUSTERS, SYS_PASSWORD, Cluster

DEFAULT_VERSION = "4.3.1.0-1"
OLD_VERSION = "1.7.4.0-1745000"  # below 1.8.0, the oldest that may be taken over
ADOPTED_PASSWORD = "Adopted#0"
UNKNOWN_PASSWORD = "Unknown#9"
OBSERVER_CLUSTER = "obcluster"

_PRELUDE = """\
export WORK_THREAD_NUM=8
password() { printf '%s' "$1" | sha1sum | cut -d' ' -f1; }
as_admin() { runuser -u admin -- "$@"; }
watchdog() { # password [who]
    export OBPROXY_EXTRA_OPT="obproxy_sys_password=$(password "$1")"
    ${2-as_admin} "$home/bin/obproxyd.sh" -c start -n "$cluster" -p "$port" -u "$url"
}
proxy() { # password: without a watchdog
    local options="obproxy_sys_password=$(password "$1"),obproxy_config_server_url=$url"
    options+=",work_thread_num=$WORK_THREAD_NUM,enable_proxy_scramble=true,proxy_mem_limited=2G"
    (cd "$home" && as_admin ./bin/obproxy -p "$port" -n "$cluster" -o "$options")
}
until_it_listens() {
    for _ in {1..500}; do
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
        sleep 0.02
    done
    return 1
}
simulate() { echo "$1" >/etc/obproxy-simulation.json; }
"""


@dataclass(frozen=True, kw_only=True)
class State:
    """Named state in which a lab host starts.

    - script: the script that makes the state
    - installed: the host has an OBProxy package
    - listens: a proxy answers at the SQL port, so that the start of the host waits for it
    - has_ssh: sshd runs
    - arguments: more arguments for podman run; {home} is the OBProxy's home
    - version: the only version that the state makes sense with
    - home: the home of the OBProxy, if it differs from that of its package
    - has_systemd: systemd is the host's first process
    """

    script: str
    installed: bool = True
    listens: bool = True
    has_ssh: bool = True
    arguments: tuple[str, ...] = ()
    version: str | None = None
    home: str | None = None
    has_systemd: bool = False


_RUNNING = f"watchdog '{SYS_PASSWORD}'\n"
_UNIT = """\
cat >/etc/systemd/system/obproxy.service <<END
[Service]
User=admin
WorkingDirectory=$home
ExecStart=$home/bin/obproxy -N -p $port -n $cluster -o proxy_mem_limited=2G,enable_strict_kernel_release=False
Restart=always
RestartSec=1
END
systemctl daemon-reload
systemctl start obproxy.service
"""
_STOP = "pkill -9 -x obproxyd.sh || true\npkill -9 -x obproxy || true\n"

STATES: dict[str, State] = {
    "running": State(script=_RUNNING),
    "stopped": State(script=f"proxy '{SYS_PASSWORD}'\nuntil_it_listens\n{_STOP}", listens=False),
    "absent": State(script="", installed=False, listens=False),
    "unsupervised": State(script=f"proxy '{SYS_PASSWORD}'\n"),
    "other-password": State(script=f"watchdog '{ADOPTED_PASSWORD}'\n"),
    "wrong-password": State(script=f"watchdog '{UNKNOWN_PASSWORD}'\n"),
    "empty-password": State(
        script='export OBPROXY_EXTRA_OPT=obproxy_sys_password=\nas_admin "$home/bin/obproxyd.sh" '
        '-c start -n "$cluster" -p "$port" -u "$url"\n'
    ),
    # A copy of the package's files that belongs to no package.
    "unpackaged": State(
        script='cp -a "$package_home" "$home"\n' + _RUNNING,
        home="/home/admin/obproxy",
    ),
    "two-packages": State(script=_RUNNING + "/usr/local/sbin/lab-install obproxy-1.9.1.1\n"),
    # It has never reached an OB cluster, and serves no ordinary client.
    "no-observer": State(script="simulate '{}'\n" + _RUNNING),
    # Another process has the port of the exporter: the proxy runs without one.
    "busy-exporter-port": State(script="nc -lk 2884 >/dev/null 2>&1 </dev/null &\n" + _RUNNING),
    # A second OBProxy of the same binary, with a home and ports of its own.
    "foreign": State(
        script=_RUNNING + "install -d -o admin -g admin /home/admin/other\n"
        'cd /home/admin/other\nas_admin "$home/bin/obproxy" -p 3883 -l 3884 -s 3885 '
        "-n other -r 127.0.0.1:2881 -c other\n"
    ),
    "old-version": State(script=_RUNNING, version=OLD_VERSION),
    # Without nc a watchdog launches one proxy after the other (docs/reference/obproxy.md 9, trap 16), so there is none.
    "no-nc": State(script=f"rm -f /bin/nc /bin/netcat /bin/nc.openbsd\nproxy '{SYS_PASSWORD}'\n"),
    "no-sudo": State(script=_RUNNING + "rm -f /etc/sudoers.d/ops\n"),
    "unreachable": State(script=_RUNNING, has_ssh=False),
    # The cluster's desired work_thread_num=8 takes effect only after a restart.
    "restart-needed": State(script="export WORK_THREAD_NUM=4\n" + _RUNNING),
    # A unit starts it with options of its own, which leave out the desired ones of the cluster.
    "systemd": State(
        script=f"export WORK_THREAD_NUM=4\nproxy '{SYS_PASSWORD}'\nuntil_it_listens\n{_STOP}{_UNIT}", has_systemd=True
    ),
    "slow": State(script="""simulate '{"observer": true, "answer_delay": 0.5, "start_delay": 5}'\n""" + _RUNNING),
    "full-disk": State(
        script='chown admin:admin "$home"\n'
        + _RUNNING
        + 'until_it_listens\ndd if=/dev/zero of="$home/filler" bs=64k 2>/dev/null || true\n'
        'dd if=/dev/zero of="$home/filler" bs=1 oflag=append conv=notrunc 2>/dev/null || true\n',
        arguments=("--tmpfs", "{home}:size=8m,mode=755"),
    ),
    "owner-root": State(script=f"watchdog '{SYS_PASSWORD}' env\n"),
    # Started with the observers' addresses instead of a config server.
    "rs-list": State(
        script=f"export OBPROXY_EXTRA_OPT=\"obproxy_sys_password=$(password '{SYS_PASSWORD}')\"\n"
        'as_admin "$home/bin/obproxyd.sh" -c start -n "$cluster" -p "$port" -r '
        f"-s {OBSERVER_CLUSTER} -t 127.0.0.1:2881\n"
    ),
}


def package_home(version: str) -> str:
    """Return the directory where the package of a VERSION-BUILD installs the OBProxy."""
    return f"/opt/taobao/install/obproxy-{version.partition('-')[0]}"


def home_of(state: State, version: str) -> str:
    """Return the home of the OBProxy of a host in this state."""
    return state.home or package_home(version)


def cluster_for(version: str) -> Cluster:
    """Return the OBProxy cluster that a proxy of this version fits into."""
    wanted = "legacy" if int(version.split(".")[0]) < 4 else "test"
    return next(cluster for cluster in CLUSTERS if cluster.name == wanted)


def script(state: State, version: str, sql_port: int) -> str:
    """Return the whole script of a host."""
    cluster = cluster_for(version)
    values = {
        "home": home_of(state, version),
        "package_home": package_home(version),
        "port": sql_port,
        "cluster": cluster.name,
        "url": cluster.config_server_url,
    }
    lines = [f"{name}='{value}'" for name, value in values.items()]
    return "\n".join(lines) + "\n" + _PRELUDE + state.script
