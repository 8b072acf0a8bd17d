"""Test that a refresh sets a managed OBProxy to its cluster's values again and restarts nothing."""

from service.cli.client import Client

from . import Lab
from .fixtures import StartHost
from .inventory import SYS_PASSWORD
from .task_documents import ended
from .test_release import configuration, take_over
from .tunnel import admin


def test_a_refresh_undoes_unmanaged_changes(lab: Lab, client: Client, lab_host: StartHost) -> None:
    host = lab_host()
    server_id, pid = take_over(client, host), host.proxy_pid()
    managed = configuration(lab, host)
    fact = host.run("cat /etc/ansible/facts.d/obproxy.fact")
    with admin(lab, host, SYS_PASSWORD) as connection, connection.cursor() as cursor:
        cursor.execute("alter proxyconfig set obproxy_sys_password = ''")
    host.run('echo \'{"managed_by": "obproxy-takeover", "cluster_id": 1}\' > /etc/ansible/facts.d/obproxy.fact')

    (document,) = client.refresh(1, [server_id])
    document = ended(client, document["id"])

    assert (document["name"], document["status"]) == ("Refresh obproxy", "SUCCESSFUL")
    assert configuration(lab, host) == managed and host.proxy_pid() == pid
    assert host.run("cat /etc/ansible/facts.d/obproxy.fact") == fact
    (server,) = [server for server in client.cluster(1)["obproxies"] if server["id"] == server_id]
    assert (server["status"], server["operateStatus"]) == ("RUNNING", "NORMAL")
