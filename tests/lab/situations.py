"""Scripts that turn a lab host in state `running` into a host that others have set up; run as root on it.

Unlike a state, a situation stops what the state has started and starts it in its own way.
"""

from collections.abc import Callable

from .host import LabHost
from .inventory import SYS_PASSWORD
from .states import cluster_for, package_home

Make = Callable[[LabHost, int], None]
_STOP = """
pkill -9 -x obproxyd.sh || true
pkill -9 -x obproxy || true
while pgrep -x obproxy >/dev/null; do sleep 0.05; done
"""
_UNTIL_IT_LISTENS = """
for _ in $(seq 300); do (: </dev/tcp/127.0.0.1/2883) 2>/dev/null && break; sleep 0.05; done
"""
# The observable habits of the deployer's watchdog: HOME IP PORT [daemon]; its own pid and the proxy's in HOME/run; it
# ends an earlier watchdog and the recorded proxy, then looks once a second and starts the proxy with its port alone.
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


def obd(host: LabHost, threads: int) -> None:
    """As the deployer (obd) leaves it: the binary in its repository, links in the home, its own watchdog."""
    version = host.version.partition("-")[0]
    package = package_home(host.version)
    url = cluster_for(host.version).config_server_url
    more = "" if version.startswith("1.") else "skip_proxy_sys_private_check=True,"
    host.run(f"""{_STOP}
R=/home/admin/.obd/repository/obproxy-ce/{version}/0123456789abcdef H={OBD_HOME}
runuser -u admin -- mkdir -p $R $H/bin $H/lib $H/run
cp -a {package}/bin {package}/lib $R/
rpm -e --noscripts obproxy
rm -rf {package}
runuser -u admin -- ln -fs $R/bin/obproxy $H/bin/
ln -fs $R/lib/* $H/lib/
cat >$H/obproxyd.sh <<'EOS'
{_OBD_WATCHDOG}
EOS
chown -R admin: $R $H
HASH=$(printf '%s' '{SYS_PASSWORD}' | sha1sum | cut -d' ' -f1)
OPTIONS="obproxy_sys_password=$HASH,{more}enable_strict_kernel_release=False,enable_cluster_checkout=False"
OPTIONS="$OPTIONS,work_thread_num={threads},obproxy_config_server_url='URL'"
OPTIONS=${{OPTIONS/"'URL'"/'{url}'}}
runuser -u admin -- env LD_LIBRARY_PATH=$H/lib: bash -c 'cd "$1" && "$1/bin/obproxy" -o "$2" --listen_port 2883 \
    --prometheus_listen_port 2884 --cluster_name obcluster' sh $H "$OPTIONS" >/dev/null 2>&1
{_UNTIL_IT_LISTENS}
IP=$(hostname -I | cut -d' ' -f1)
pgrep -x obproxy >$H/run/obproxy-$IP-2883.pid
chown -R admin: $H/run
cd /home/admin && runuser -u admin -- bash $H/obproxyd.sh $H $IP 2883 >/dev/null 2>&1 </dev/null
for _ in $(seq 100); do [ "$(cat $H/run/obproxy-*.pid)" = "$(pgrep -o -f 'bin/obproxy --listen_port')" ] && break
    sleep 0.1; done
{_UNTIL_IT_LISTENS}""")


def keeper(host: LabHost, threads: int) -> None:
    """Kept alive by a loop with options of its own, as supervisord or somebody's script does it."""
    cluster = cluster_for(host.version)
    host.run(f"""{_STOP}
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
    """A program of the real supervisord, with options of its own."""
    cluster = cluster_for(host.version)
    host.run(f"""{_STOP}
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
    """Started again by cron, once a minute, where no process of it is found."""
    cluster = cluster_for(host.version)
    host.run(f"""{_STOP}
cd {host.home}
HASH=$(printf %s '{SYS_PASSWORD}' | sha1sum | cut -d' ' -f1)
runuser -u admin -- ./bin/obproxy -p 2883 -n {cluster.name} \
    -o "obproxy_config_server_url={cluster.config_server_url},obproxy_sys_password=$HASH,work_thread_num={threads}"
echo '* * * * * admin pgrep -x obproxy >/dev/null || (cd {host.home} && ./bin/obproxy -p 2883 -n {cluster.name})' \
    >/etc/cron.d/obproxy
cron
{_UNTIL_IT_LISTENS}""")


def library_path(host: LabHost, *, needed: bool) -> None:
    """Started with LD_LIBRARY_PATH, without a watchdog; `needed`: the program does not start without it."""
    url = cluster_for(host.version).config_server_url
    library = "L=$(ldconfig -p | grep -o '/.*/libpython3.11.so.1.0' | head -n 1)\n"
    hide = library + f"mv $L* {host.home}/lib/ && ldconfig && chown -R admin: {host.home}/lib\n" if needed else ""
    host.run(f"""{_STOP}{hide}
cd {host.home}
HASH=$(printf '%s' '{SYS_PASSWORD}' | sha1sum | cut -d' ' -f1)
runuser -u admin -- env LD_LIBRARY_PATH={host.home}/lib ./bin/obproxy -p 2883 -n test \
    -o "obproxy_sys_password=$HASH,work_thread_num=4,obproxy_config_server_url={url}" >/dev/null 2>&1
{_UNTIL_IT_LISTENS}""")
