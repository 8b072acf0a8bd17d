"""Action plugin obproxy_exporter: scrapes the OBProxy's metrics exporter once, through the SSH connection."""

import http.client
from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.addresses import format_address
from ansible_collections.obproxy.takeover.plugins.module_utils.facts import Facts
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.module_utils.tunnel import TunnelError, Tunnels

_RESPONSE_LIMIT = 4 * 1024 * 1024
_SECONDS = 10


class ActionModule(HostAction):
    def act(self, arguments: dict[str, Any]) -> Result:
        return self.result_before_start() or self._act()

    def _act(self) -> Result:
        try:
            return self._scrape(self.facts["exporter"])
        except FailedRule:
            again = self._discover_after_hand_over()
        scraped = self._scrape(again["ansible_facts"]["obproxy"]["exporter"])
        return again | scraped | {"obproxy_server": again["obproxy_server"] | scraped["obproxy_server"]}

    def _discover_after_hand_over(self) -> Result:
        """Return facts and server data of a new discovery.

        During a hot restart no process has the exporter's port for a moment (docs/reference/obproxy.md 6), which the
        discovery or the scrape may meet. Then the new process gets time to open the port.
        """
        found = self.rediscover()
        facts = found["ansible_facts"]["obproxy"]
        if facts["exporter"]["held_by"] == "none" and _is_successor(facts, self.facts["process"]):
            wanted = {"pid": facts["process"]["pid"], "ports": [facts["exporter"]["port"]], "seconds": _SECONDS}
            self.run_program("start", wanted)
            found = self.rediscover()
        return {key: found[key] for key in ("ansible_facts", "obproxy_server")}

    def _scrape(self, exporter: Facts) -> Result:
        """Return the result of a scrape of the exporter that the facts describe; raise FailedRule."""
        endpoint = _endpoint(exporter)
        with self.tunnels() as tunnels:
            try:
                status, body = self._get(tunnels, endpoint)
            except (OSError, http.client.HTTPException, TunnelError) as error:
                found = tunnels.ssh_error() or str(error)
                raise _scrape_failure(endpoint, found) from error
        if status != http.client.OK:
            raise _scrape_failure(endpoint, f"HTTP status {status}")
        # A proxy without client traffic has no odp_ line yet, and is healthy (docs/reference/obproxy.md 6).
        lines = sum(line.startswith(b"odp_") for line in body.splitlines())
        return {
            "changed": False,
            "msg": f"the exporter at port {endpoint[1]} answers, {lines} odp_ lines",
            "obproxy_server": {"exporter_port": endpoint[1]},
        }

    def _get(self, tunnels: Tunnels, endpoint: tuple[str, int]) -> tuple[int, bytes]:
        channel = tunnels.channel(*endpoint)
        channel.settimeout(_SECONDS)
        connection = http.client.HTTPConnection(*endpoint)
        connection.sock = channel
        try:
            connection.request("GET", "/metrics", headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read(_RESPONSE_LIMIT)
        except (OSError, http.client.HTTPException):
            if tunnels.use_relay():
                return self._get(tunnels, endpoint)
            raise


def _is_successor(facts: Facts, former: Facts) -> bool:
    """Return whether the running OBProxy has taken over from another process, which drains or has ended."""
    return facts["running"] and bool(facts["draining"] or facts["process"]["pid"] != former["pid"])


def _endpoint(exporter: Facts) -> tuple[str, int]:
    """Return the address and port of an exporter that the OBProxy itself holds; raise FailedRule otherwise."""
    port = int(exporter["port"])
    if exporter["held_by"] == "proxy" and exporter["address"]:
        return str(exporter["address"]), port
    holder = exporter["holder"]
    raise FailedRule(
        "The exporter's port is the OBProxy's own",
        f"port {port} is held by {holder['description'] if holder else 'no process'}",
        "free the port or change prometheus_listen_port, then start the OBProxy again: it opens the port at its "
        "start, and runs without metrics if the port is in use",
    )


def _scrape_failure(endpoint: tuple[str, int], found: str) -> FailedRule:
    return FailedRule(
        f"The exporter answers http://{format_address(*endpoint)}/metrics with HTTP 200",
        found,
        "check enable_prometheus and prometheus_listen_port; a changed port acts after a restart",
    )
