"""Logins: the parts of a user name, the address check, the password check.

See docs/reference/obproxy.md 4.1-4.3.
"""

from dataclasses import dataclass

from . import answers, wire
from .proxy import Proxy

ADMINISTRATORS = {"root": "obproxy_sys_password", "inspector": "inspector_password"}


@dataclass(frozen=True, kw_only=True)
class Name:
    user: str
    tenant: str
    cluster: str

    @property
    def is_administrator(self) -> bool:
        """root@proxysys or inspector@proxysys, case-sensitive; the cluster part is not looked at."""
        return self.tenant == "proxysys" and self.user in ADMINISTRATORS


def parse_name(full: str) -> Name:
    """user@tenant#cluster or cluster:tenant:user."""
    if full.count(":") == 2:
        cluster, tenant, user = full.split(":")
        return Name(user=user, tenant=tenant, cluster=cluster)
    user, _, rest = full.partition("@")
    tenant, _, cluster = rest.partition("#")
    return Name(user=user, tenant=tenant, cluster=cluster)


def refusal(proxy: Proxy, login: wire.Login, address: str, salt: bytes) -> answers.Error | answers.Hangup | None:
    """Return why this login fails: an error to send before closing, closing alone, or None when it is accepted."""
    name = parse_name(login.user)
    denied = answers.access_denied(_shown(name), address, using_password=bool(login.scramble))
    if name.is_administrator:
        stage1 = proxy.settings[ADMINISTRATORS[name.user]]
        welcome = _address_is_allowed(proxy, address) and wire.scramble_matches(stage1, login.scramble, salt)
        return None if welcome else denied
    if name.user == "proxyro" and name.tenant == "sys" and not proxy.settings.is_on("skip_proxyro_check"):
        return denied
    if name.cluster and name.cluster != proxy.cluster:
        return answers.NO_CLUSTER
    # A name without a tenant, or of the tenant proxysys, is routed like any other and finds nothing.
    has_route = proxy.simulation.is_on("observer") and name.user and name.tenant and name.tenant.lower() != "proxysys"
    return None if has_route else answers.Hangup()


def _shown(name: Name) -> str:
    return f"{name.user}@{name.tenant}"


def _address_is_allowed(proxy: Proxy, address: str) -> bool:
    """Loopback, or 192.168/16, which is all that OBProxy calls private (docs/reference/obproxy.md 4.2)."""
    if proxy.settings.is_on("skip_proxy_sys_private_check"):
        return True
    return address == "127.0.0.1" or address.startswith("192.168.")
