"""The Prometheus exporter's content: exposer_* always, odp_* once clients have been served.

See docs/reference/obproxy.md 6.
"""

import time
from collections import Counter
from collections.abc import Mapping


class Metrics:
    """Counts client traffic; what a scrape shows is brought up to date once per prometheus_sync_interval."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[tuple[str, str], ...]] = Counter()
        self._transactions: Counter[tuple[tuple[str, str], ...]] = Counter()
        self._connections: Counter[tuple[tuple[str, str], ...]] = Counter()
        self._sessions = 0
        self._served = False
        self._scrapes = 0
        self._bytes = 0
        self._published = ""
        self._published_at = 0.0

    def connected(self, cluster: str, tenant: str) -> None:
        self._served = True
        self._sessions += 1
        self._connections[_labels(cluster=cluster, tenant=tenant, connectionResult="success")] += 1

    def disconnected(self) -> None:
        self._sessions -= 1

    def request(self, cluster: str, tenant: str, sql_type: str, *, success: bool) -> None:
        labels = {"logicTenant": "", "logicSchema": "", "cluster": cluster, "tenant": tenant, "schema": ""}
        result = "success" if success else "fail"
        self._requests[_labels(**labels, sqlType=sql_type, slowQuery="false", sqlResult=result)] += 1
        self._transactions[_labels(**labels)] += 1

    def scrape(self, constant: Mapping[str, str], sync_interval: float, *, enabled: bool) -> bytes:
        """Return the text of /metrics; every odp_ series has the constant labels."""
        now = time.monotonic()
        if enabled and self._served and now - self._published_at >= sync_interval:
            self._published, self._published_at = self._odp_lines(constant), now
        text = self._exposer_lines() + self._published
        self._scrapes += 1
        self._bytes += len(text)
        return text.encode()

    def _odp_lines(self, constant: Mapping[str, str]) -> str:
        families = (
            ("odp_transaction_total", "counter", dict(self._transactions)),
            ("odp_sql_request_total", "counter", dict(self._requests)),
            ("odp_new_client_connections", "counter", dict(self._connections)),
            ("odp_current_session", "gauge", {_labels(sessionType="client", vip=""): self._sessions}),
        )
        lines = []
        for name, kind, series in families:
            lines += [f"# HELP {name} ", f"# TYPE {name} {kind}"]
            for labels, value in series.items():
                text = ",".join(f'{key}="{text}"' for key, text in (*constant.items(), *labels))
                lines.append(f"{name}{{{text}}} {value}")
        return "\n".join(lines) + "\n"

    def _exposer_lines(self) -> str:
        return (
            "# HELP exposer_transferred_bytes_total Transferred bytes to metrics services\n"
            "# TYPE exposer_transferred_bytes_total counter\n"
            f"exposer_transferred_bytes_total {self._bytes}\n"
            "# HELP exposer_scrapes_total Number of times metrics were scraped\n"
            "# TYPE exposer_scrapes_total counter\n"
            f"exposer_scrapes_total {self._scrapes}\n"
        )


def _labels(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(labels.items())
