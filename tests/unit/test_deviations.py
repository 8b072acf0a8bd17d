"""Deviating parameters of an OBProxy cluster, grouped by parameter."""

from service.fleet import deviations
from service.model.fleet import ObproxyServer
from tests.unit.records import server


def test_servers_are_grouped_by_parameter_and_expected_value() -> None:
    def drifted(name: str, **found: tuple[str, str]) -> ObproxyServer:
        differences = [{"name": key, "expected": e, "found": f} for key, (e, f) in found.items()]
        return server(host_name=name, learned={"parameter_drift": differences})

    servers = [
        drifted("a", threads=("8", "4"), memory=("2G", "1G")),
        drifted("b", threads=("8", "6")),
        drifted("c", threads=("16", "4")),
        drifted("d"),
        server(),
    ]

    found = deviations.group(servers)

    assert [(d.name, d.expected, [(s.server.host_name, s.found) for s in d.servers]) for d in found] == [
        ("memory", "2G", [("a", "1G")]),
        ("threads", "16", [("c", "4")]),
        ("threads", "8", [("a", "4"), ("b", "6")]),
    ]
