"""obproxyd.sh on a host: brings a killed proxy back, does harm where the original does.

See docs/reference/obproxy.md 1.3.
"""

from tests.waiting import until

from . import inventory
from .fixtures import StartHost
from .lab import Lab
from .tunnel import admin, query


def test_a_killed_proxy_comes_back_with_its_stored_values(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    with admin(lab, host, inventory.SYS_PASSWORD) as connection:
        query(connection, "alter proxyconfig set proxy_mem_limited = '4G'")
    first = host.proxy_pid()
    host.run("pkill -9 -x obproxy")
    second = host.wait_for_another_pid(first)
    # The first launch carried a list of parameters, this one does not.
    assert "proxy_mem_limited" not in host.run(f"cat /proc/{second}/cmdline")
    with admin(lab, host, inventory.SYS_PASSWORD) as connection:
        assert query(connection, "show proxyconfig like 'proxy_mem_limited'")[0][1] == "4G"


def test_start_status_and_stop(lab_host: StartHost) -> None:
    host = lab_host()
    script = f"runuser -u admin -- {host.home}/bin/obproxyd.sh"
    assert "already started" in host.run(f"{script} -c start -n test")
    assert host.run(f"{script} -c status").startswith(f"obproxy is running: {host.proxy_pid()}")
    host.run(f"{script} -c stop")
    assert host.run(f"{script} -c status") == "obproxy is stopped\n"
    assert host.run("pgrep -x obproxyd.sh || true") == ""


def test_bad_arguments(lab_host: StartHost) -> None:
    host = lab_host(state="stopped")
    assert host.run(f"{host.home}/bin/obproxyd.sh -c nosuch >/dev/null; echo $?") == "255\n"


def test_without_nc_it_launches_one_after_the_other(lab_host: StartHost) -> None:
    host = lab_host(state="no-nc")
    first = host.proxy_pid()
    url = inventory.CLUSTERS[0].config_server_url
    host.run(f"runuser -u admin -- {host.home}/bin/obproxyd.sh -c start -n test -p 2883 -u '{url}'")
    log = f"{host.home}/log/obproxy_diagnosis.log"
    until(lambda: "reboot failed" in host.run(f"cat {log}"), "no second OBProxy has failed")
    # Each failed one has stored its arguments; the first one goes on serving.
    assert host.proxy_pid() == first
