"""Scripts that turn a lab host in state `running` into a host that others have set up; run as root on it.

Unlike a state, a situation stops what the state has started and starts it in its own way.
"""

from collections.abc import Callable

from .host import LabHost
from .inventory import SYS_PASSWORD
from .states import cluster_for, package_home

Make = Callable[[LabHost, int], None]
STOP = """
pkill -9 -x obproxyd.sh || true
pkill -9 -x obproxy || true
while pgrep -x obproxy >/dev/null; do sleep 0.05; done
"""
_UNTIL_IT_LISTENS = """
for _ in $(seq 300); do (: </dev/tcp/127.0.0.1/2883) 2>/dev/null && break; sleep 0.05; done
"""
# The observable behavior of the deployer's watchdog: HOME IP PORT [daemon]; its own pid and the proxy's in HOME/run.
# It ends an earlier watchdog and the recorded proxy. Then it checks once a second and starts the proxy with its port
# alone.
_OBD_WATCHDOG = r"""#!/bin/bash
home=$1 ip=$2 port=$3
if [ "${4:-}" != daemon ]; then nohup bash "$0" "$home" "$ip" "$port" daemon >/dev/null 2>&1 & exit 0; fi
own=$home/run/obproxyd-$ip-$port.pid record=$home/run/obproxy-$ip-$port.pid
[ -s "$own" ] && kill -9 "$(<"$own")" 2>/dev/null
echo $$ >"$own"
proxy=$(<"$record"); [ -d "/proc/$proxy" ] || exit 1
kill -9 "$proxy"
while sleep 1; do
    [ -d "/proc/$proxy" ] && continue
    (cd "$home" && "$home/bin/obproxy" --listen_port "$port")
    proxy=$(pgrep -f -n -- "^$home/bin/obproxy --listen_port $port\$"); echo "$proxy" >"$record"
done
"""
OBD_HOME = "/home/admin/obproxy"


def obd(host: LabHost, threads: int, user: str = "admin", base: str = "/home/admin") -> None:
    """As the deployer (obd) leaves it: the binary in its repository, links in the home, its own watchdog."""
    version = host.version.partition("-")[0]
    package = package_home(host.version)
    url = cluster_for(host.version).config_server_url
    more = "" if version.startswith("1.") else "skip_proxy_sys_private_check=True,"
    host.run(f"""{STOP}
R={base}/.obd/repository/obproxy-ce/{version}/0123456789abcdef H={base}/obproxy
runuser -u {user} -- mkdir -p $R $H/bin $H/lib $H/run
cp -a {package}/bin {package}/lib $R/
rpm -e --noscripts obproxy
rm -rf {package}
runuser -u {user} -- ln -fs $R/bin/obproxy $H/bin/
ln -fs $R/lib/* $H/lib/
cat >$H/obproxyd.sh <<'EOS'
{_OBD_WATCHDOG}
EOS
chown -R {user}: $R $H
HASH=$(printf '%s' '{SYS_PASSWORD}' | sha1sum | cut -d' ' -f1)
OPTIONS="obproxy_sys_password=$HASH,{more}enable_strict_kernel_release=False,enable_cluster_checkout=False"
OPTIONS="$OPTIONS,work_thread_num={threads},obproxy_config_server_url='URL'"
OPTIONS=${{OPTIONS/"'URL'"/'{url}'}}
runuser -u {user} -- env LD_LIBRARY_PATH=$H/lib: bash -c 'cd "$1" && "$1/bin/obproxy" -o "$2" --listen_port 2883 \
    --prometheus_listen_port 2884 --cluster_name obcluster' sh $H "$OPTIONS" >/dev/null 2>&1
{_UNTIL_IT_LISTENS}
IP=$(hostname -I | cut -d' ' -f1)
pgrep -x obproxy >$H/run/obproxy-$IP-2883.pid
chown -R {user}: $H/run
cd {base} && runuser -u {user} -- bash $H/obproxyd.sh $H $IP 2883 >/dev/null 2>&1 </dev/null
for _ in $(seq 100); do [ "$(cat $H/run/obproxy-*.pid)" = "$(pgrep -o -f 'bin/obproxy --listen_port')" ] && break
    sleep 0.1; done
{_UNTIL_IT_LISTENS}""")


def keeper(host: LabHost, threads: int) -> None:
    """Kept alive by a loop with options of its own, as supervisord or a private script does it."""
    cluster = cluster_for(host.version)
    host.run(f"""{STOP}
cat >/usr/local/sbin/keeper <<'EOS'
#!/bin/bash
cd {host.home}
H=$(printf %s '{SYS_PASSWORD}' | sha1sum | cut -d' ' -f1)
URL='{cluster.config_server_url}'
while :; do
    runuser -u admin -- ./bin/obproxy -N -p 2883 -n {cluster.name} \
        -o "obproxy_config_server_url=$URL,obproxy_sys_password=$H,work_thread_num={threads},proxy_mem_limited=2G"
    sleep 0.1
done
EOS
chmod 755 /usr/local/sbin/keeper
nohup setsid /usr/local/sbin/keeper >/dev/null 2>&1 </dev/null &
{_UNTIL_IT_LISTENS}""")


def supervisord(host: LabHost, threads: int) -> None:
    """Run a program under the real supervisord, with options of its own."""
    cluster = cluster_for(host.version)
    host.run(f"""{STOP}
HASH=$(printf %s '{SYS_PASSWORD}' | sha1sum | cut -d' ' -f1)
OPTIONS="obproxy_config_server_url={cluster.config_server_url},obproxy_sys_password=$HASH,work_thread_num={threads}"
cat >/etc/supervisor/conf.d/obproxy.conf <<END
[program:obproxy]
directory={host.home}
user=admin
command={host.home}/bin/obproxy -N -p 2883 -n {cluster.name} -o "$OPTIONS"
autorestart=true
END
supervisord -c /etc/supervisor/supervisord.conf
{_UNTIL_IT_LISTENS}""")


def cron(host: LabHost, threads: int) -> None:
    """Let cron start it again, once a minute, where it finds no process of it."""
    cluster = cluster_for(host.version)
    host.run(f"""{STOP}
cd {host.home}
HASH=$(printf %s '{SYS_PASSWORD}' | sha1sum | cut -d' ' -f1)
runuser -u admin -- ./bin/obproxy -p 2883 -n {cluster.name} \
    -o "obproxy_config_server_url={cluster.config_server_url},obproxy_sys_password=$HASH,work_thread_num={threads}"
echo '* * * * * admin pgrep -x obproxy >/dev/null || (cd {host.home} && ./bin/obproxy -p 2883 -n {cluster.name})' \
    >/etc/cron.d/obproxy
cron
{_UNTIL_IT_LISTENS}""")


def library_path(host: LabHost, *, needed: bool) -> None:
    """Start it with LD_LIBRARY_PATH, without a watchdog; `needed`: the program does not start without it."""
    url = cluster_for(host.version).config_server_url
    library = "L=$(ldconfig -p | grep -o '/.*/libpython3.11.so.1.0' | head -n 1)\n"
    hide = library + f"mv $L* {host.home}/lib/ && ldconfig && chown -R admin: {host.home}/lib\n" if needed else ""
    host.run(f"""{STOP}{hide}
cd {host.home}
HASH=$(printf '%s' '{SYS_PASSWORD}' | sha1sum | cut -d' ' -f1)
runuser -u admin -- env LD_LIBRARY_PATH={host.home}/lib ./bin/obproxy -p 2883 -n test \
    -o "obproxy_sys_password=$HASH,work_thread_num=4,obproxy_config_server_url={url}" >/dev/null 2>&1
{_UNTIL_IT_LISTENS}""")


def bound(host: LabHost, *, stranger: bool) -> None:
    """Bound to the host's address only; `stranger`: another OBProxy's password prompt answers at loopback."""
    other = "(setsid nc -lk 127.0.0.1 2883 >/var/tmp/stranger 2>&1 </dev/null &)\n" if stranger else ""
    _start_by_hand(host, f"local_bound_ip={host.address},skip_proxy_sys_private_check=true")
    host.run(other)


def by_hand(host: LabHost) -> None:
    """Start it without a watchdog in the package's home, whatever ran before."""
    _start_by_hand(host, "enable_proxy_scramble=true")


def _start_by_hand(host: LabHost, options: str, *, home: str | None = None) -> None:
    """Start it without a watchdog, in a directory; its program stays the package's."""
    where, cluster = home or host.home, cluster_for(host.version)
    options += f",obproxy_config_server_url={cluster.config_server_url}"
    host.run(f"""{STOP}
mkdir -p {where} && cd {where} && chown admin: .
HASH=$(printf '%s' '{SYS_PASSWORD}' | sha1sum | cut -d' ' -f1)
runuser -u admin -- {host.home}/bin/obproxy -p 2883 -n {cluster.name} \\
    -o "obproxy_sys_password=$HASH,work_thread_num=8,{options}" \\
    >/dev/null 2>&1
for _ in $(seq 100); do ss -Hltn 'sport = :2883' | grep -q . && exit 0; sleep 0.1; done; exit 1""")


def home_removed(host: LabHost) -> None:
    """Remove the home under the live process, whose program is elsewhere."""
    _start_by_hand(host, "enable_proxy_scramble=true", home="/data/obproxy")
    host.run("rm -rf /data/obproxy")


def home_in_gbk(host: LabHost) -> None:
    """Give the home a name that is not UTF-8."""
    _start_by_hand(host, "enable_proxy_scramble=true", home="/data/$'\\xca\\xfd\\xbe\\xdd'/obproxy")


def other_config_server(host: LabHost) -> None:
    """Let it use the deployer's config server, under another application name."""
    host.run(f"""{STOP}
cd {host.home}
export OBPROXY_EXTRA_OPT=obproxy_sys_password=$(printf '%s' '{SYS_PASSWORD}' | sha1sum | cut -d' ' -f1)
export WORK_THREAD_NUM=8
runuser -u admin -- ./bin/obproxyd.sh -c start -n prod -p 2883 \\
    -u 'http://192.0.2.40:18080/services?Action=GetObProxyConfig'
{_UNTIL_IT_LISTENS}""")


def private_mounts(host: LabHost) -> None:
    """Start it as a unit with PrivateTmp: in a mount namespace of its own, with the host's files."""
    start = f"cd {host.home} && setpriv --reuid admin --regid admin --clear-groups ./bin/obproxy -p 2883 -n test"
    host.run(STOP)
    host.run_from_outside(f"unshare -m sh -c '{start}' >/dev/null 2>&1 </dev/null")
    host.run(_UNTIL_IT_LISTENS)


def defunct(host: LabHost) -> None:
    """Leave a second OBProxy as a zombie, whose parent does not wait for it."""
    host.run(f"""cat >/root/parent.py <<'EOS'
import os, time
if os.fork() == 0:
    os.setgid(1000)
    os.setuid(1000)
    os.execv("{host.home}/bin/obproxy", ["./bin/obproxy", "-V"])
time.sleep(100000)
EOS
nohup setsid python3 /root/parent.py >/dev/null 2>&1 </dev/null &
for _ in $(seq 100); do ps -C obproxy -o stat= | grep -q Z && exit 0; sleep 0.1; done; exit 1""")


def without_ptrace(host: LabHost) -> None:
    """Start a second sshd at port 2222 whose root lacks SYS_PTRACE, as in a container with an engine's defaults."""
    host.run("setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace /usr/sbin/sshd -p 2222")


def container(host: LabHost, *, network: bool) -> None:
    """In namespaces of its own, with a home that the host has none of; `network`: its network is its own, too."""
    flag, cluster = "-n" if network else "", cluster_for(host.version)
    address = "ip link set lo up && ip address add 192.0.2.2/32 dev lo" if network else ""
    host.run(f"""{STOP}
mkdir -p /home/admin/obproxy
cat >/root/inside <<'EOS'
mount --make-rprivate /
mount -t tmpfs tmpfs /home/admin/obproxy
cp -a {host.home}/bin {host.home}/lib /home/admin/obproxy/
chown -R admin: /home/admin/obproxy
mount -t proc proc /proc
{address}
cd /home/admin/obproxy
HASH=$(printf %s '{SYS_PASSWORD}' | sha1sum | cut -d' ' -f1)
setpriv --reuid admin --regid admin --clear-groups /home/admin/obproxy/bin/obproxy -N -p 2883 -n {cluster.name} \\
    -o "obproxy_sys_password=$HASH,work_thread_num=8,obproxy_config_server_url={cluster.config_server_url}"
echo "ended: $?"
tail log/*
EOS""")
    host.run_from_outside(f"nohup unshare -m -p {flag} --fork sh /root/inside >/root/inside.log 2>&1 </dev/null &")
    host.run(
        "for _ in $(seq 100); do pgrep -x obproxy >/dev/null && exit 0; sleep 0.1; done; cat /root/inside.log; exit 1"
    )


def deployed_by_root(host: LabHost) -> None:
    """Deploy it as root: home /root/obproxy, the program in /root/.obd, its own watchdog."""
    obd(host, threads=8, user="root", base="/root")


def no_inodes(host: LabHost) -> None:
    """Put the takeover's directory on a file system that has room and no free inode."""
    where = "/var/lib/obproxy-takeover"
    mount = f"mkdir -p {where} && mount -t tmpfs -o size=300m,nr_inodes=20,mode=700 tmpfs {where}"
    host.run_from_outside(f"{mount} && for n in $(seq 19); do touch {where}/filler-$n; done")


def requires_tty(host: LabHost) -> None:
    """Install the sudoers file of an older RHEL."""
    host.run("echo 'Defaults requiretty' >/etc/sudoers.d/tty")


def password_expired(host: LabHost, user: str = "admin") -> None:
    """Expire a user's password, as a password policy does."""
    host.run(f"echo '{user}:Something#1' | chpasswd; chage -M 90 -d 2020-01-01 {user}")


def account_expired(host: LabHost, user: str = "admin") -> None:
    """Expire a user's account."""
    host.run(f"chage -E 2020-01-01 {user}")


def profile_in_gbk(host: LabHost) -> None:
    """Let the profile of the OBProxy's user print a welcome in GBK."""
    host.run(r"""printf 'echo "*** \xbb\xb6\xd3\xad ***"\n' >>/home/admin/.profile""")


def profile_in_background(host: LabHost) -> None:
    """Let the profile of the OBProxy's user start a process that keeps the standard output open."""
    host.run("echo 'nohup bash -c \"exec -a agent-loop sleep 3000\" 2>/dev/null &' >>/home/admin/.profile")


def profile_hangs(host: LabHost) -> None:
    """Let the profile of the OBProxy's user wait without end."""
    host.run("echo 'sleep 3000' >>/home/admin/.profile")


def profile_replaces_shell(host: LabHost) -> None:
    """Let the profile of the OBProxy's user start another shell, which gets no command."""
    host.run("echo 'exec bash' >>/home/admin/.profile")


def packages_broken(host: LabHost) -> None:
    """Break the package database; /root/backup has a copy of it."""
    host.run(
        "cp -a $(rpm --eval %_dbpath) /root/backup\n"
        "cd $(rpm --eval %_dbpath) && for file in *; do echo broken >$file; done"
    )
