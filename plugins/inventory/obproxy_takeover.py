"""Inventory plugin obproxy_takeover: the OBProxy servers that the takeover service manages, for other playbooks."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable
from ansible_collections.obproxy.takeover.plugins.module_utils.managed_hosts import ManagedHost, managed_hosts
from ansible_collections.obproxy.takeover.plugins.module_utils.service_client import (
    RequestRejected,
    ServiceClient,
    ServiceUnreachable,
)

DOCUMENTATION = r"""
name: obproxy_takeover
short_description: The OBProxy servers that the takeover service manages
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Offers each host with an OBProxy server that has been taken over, under the name that the service's inventory has
    for it, so that it is the same host when both inventories are given.
  - Its groups are C(obproxy_managed), C(obproxy_cluster_NAME), C(obproxy_status_STATUS) and
    C(obproxy_version_VERSION), in lower case, with C(_) for what a group's name cannot hold.
  - Its variables are C(ansible_host), C(ansible_port) where it is known, C(ocp_host_id) and C(obproxy_servers), a list
    with C(cluster_id), C(cluster_name), C(sql_port), C(exporter_port), C(version), C(status), C(architecture),
    C(pending_restart) and C(last_active_time) of each. C(compose), C(groups) and C(keyed_groups) make more of them.
  - Empty unless there are O(url) and either O(access_key) with O(access_key_secret) or O(access_key_secret_file), or
    O(user) with O(password_file), so that its file can lie in an inventory whose reader knows no service.
notes:
  - An OBProxy server whose takeover has not succeeded is not among them.
  - The service must not read a file of this plugin that has a O(url) in it as its own inventory, it would ask itself;
    environment variables it does not hand on to its reading.
extends_documentation_fragment:
  - constructed
options:
  plugin:
    description: Says that the file is for this plugin.
    required: true
    choices: [obproxy.takeover.obproxy_takeover]
  url:
    description: Where the service is, such as V(https://takeover.example.com:8080).
    type: str
    env: [{name: OBPROXY_TAKEOVER_URL}]
  access_key:
    description: The id of an access key whose user may see OBProxy clusters and hosts.
    type: str
    env: [{name: OBPROXY_TAKEOVER_ACCESS_KEY}]
  access_key_secret:
    description: Its secret.
    type: str
    env: [{name: OBPROXY_TAKEOVER_ACCESS_KEY_SECRET}]
  access_key_secret_file:
    description: The file that holds its secret, instead.
    type: path
    env: [{name: OBPROXY_TAKEOVER_ACCESS_KEY_SECRET_FILE}]
  user:
    description: Who asks, where there is no access key.
    type: str
    env: [{name: OBPROXY_TAKEOVER_USER}]
  password_file:
    description: The file that holds the user's password.
    type: path
    env: [{name: OBPROXY_TAKEOVER_PASSWORD_FILE}]
  verify:
    description: Whether the service's certificate is checked.
    type: bool
    default: true
  ca_file:
    description: The certificates to check it by, instead of the system's.
    type: path
  time_limit:
    description: How many seconds to wait for an answer.
    type: float
    default: 10
    env: [{name: OBPROXY_TAKEOVER_TIME_LIMIT}]
"""

EXAMPLES = r"""
# managed.obproxy_takeover.yml; the service and the access key stand in the environment
plugin: obproxy.takeover.obproxy_takeover
keyed_groups:
  - key: obproxy_servers | map(attribute='architecture') | list
    prefix: arch
groups:
  obproxy_waiting: obproxy_servers | selectattr('pending_restart') | length > 0
"""


class InventoryModule(BaseInventoryPlugin, Constructable):  # type: ignore[misc] # Ansible is untyped
    NAME = "obproxy.takeover.obproxy_takeover"

    def verify_file(self, path: str) -> bool:
        """Files are called *.obproxy_takeover.yml; the plugin `auto` hands others over without asking."""
        return bool(super().verify_file(path)) and path.endswith(("obproxy_takeover.yml", "obproxy_takeover.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Ask the service and add its hosts."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        secret = self._secret() if self.get_option("url") else None
        if secret is None:
            return
        try:
            for host in managed_hosts(self._client(secret())):
                self._add(host)
        except (RequestRejected, ServiceUnreachable, OSError, UnicodeDecodeError) as problem:
            raise AnsibleParserError(f"The takeover service at {self.get_option('url')}: {problem}") from problem

    def _secret(self) -> Callable[[], str] | None:
        """What reads the access key's secret, or the user's password; None when nobody is said to ask."""
        key, text = self.get_option("access_key"), self.get_option("access_key_secret")
        file = self.get_option("access_key_secret_file" if key else "password_file")
        if key and text:
            return lambda: str(text)
        if file and (key or self.get_option("user")):
            return lambda: Path(file).read_text(encoding="utf-8").strip()
        return None

    def _client(self, secret: str) -> ServiceClient:
        key = self.get_option("access_key")
        return ServiceClient(
            url=self.get_option("url"),
            key=key or self.get_option("user"),
            secret=secret,
            time_limit=self.get_option("time_limit"),
            is_user=not key,
            tls_context=self._tls_context(),
        )

    def _tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.get_option("ca_file"))
        if not self.get_option("verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _add(self, host: ManagedHost) -> None:
        self.inventory.add_host(host.name)
        for group in host.groups:
            self.inventory.add_child(self.inventory.add_group(group), host.name)
        for name, value in host.variables.items():
            self.inventory.set_variable(host.name, name, value)
        variables, strict = self.inventory.get_host(host.name).get_vars(), self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, host.name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, host.name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, host.name, strict=strict)
