"""Action plugin obproxy_exporter: asks the OBProxy's metrics exporter through the ssh tunnel."""

import http.client
from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.addresses import told
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.module_utils.tunnel import TunnelError, Tunnels

_LONGEST_ANSWER = 4 * 1024 * 1024
_SECONDS = 10


class ActionModule(HostAction):
    def act(self, arguments: dict[str, Any]) -> Result:
        return self.not_yet() or self._act(arguments)

    def _act(self, arguments: dict[str, Any]) -> Result:
        place = self._own_place()
        port = place[1]
        with self.tunnels() as tunnels:
            try:
                status, body = self._get(tunnels, place)
            except (OSError, http.client.HTTPException, TunnelError) as error:
                found = tunnels.said() or str(error)
                raise _no_answer(place, found) from error
        if status != http.client.OK:
            raise _no_answer(place, f"HTTP status {status}")
        # A proxy without client traffic has no odp_ line yet, and is healthy (docs/reference/obproxy.md 6).
        lines = sum(line.startswith(b"odp_") for line in body.splitlines())
        return {
            "changed": False,
            "msg": f"the exporter at port {port} answers, {lines} odp_ lines",
            "obproxy_server": {"exporter_port": port},
        }

    def _own_place(self) -> tuple[str, int]:
        exporter = self.facts["exporter"]
        port = int(exporter["port"])
        if exporter["held_by"] == "proxy" and exporter["address"]:
            return str(exporter["address"]), port
        holder = exporter["holder"]
        raise FailedRule(
            "The exporter's port is the OBProxy's own",
            f"port {port} is held by {holder['told'] if holder else 'nobody'}",
            "free the port or change prometheus_listen_port, then start the OBProxy again: it opens the port when it "
            "starts, and goes on without metrics when the port is taken",
        )

    def _get(self, tunnels: Tunnels, place: tuple[str, int]) -> tuple[int, bytes]:
        channel = tunnels.channel(*place)
        channel.settimeout(_SECONDS)
        connection = http.client.HTTPConnection(*place)
        connection.sock = channel
        try:
            connection.request("GET", "/metrics", headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read(_LONGEST_ANSWER)
        except (OSError, http.client.HTTPException):
            if tunnels.fall_back():
                return self._get(tunnels, place)
            raise


def _no_answer(place: tuple[str, int], found: str) -> FailedRule:
    return FailedRule(
        f"The exporter answers http://{told(*place)}/metrics with HTTP 200",
        found,
        "look at enable_prometheus and prometheus_listen_port; a changed port acts after a restart",
    )
