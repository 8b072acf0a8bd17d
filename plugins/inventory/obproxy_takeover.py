"""Inventory plugin obproxy_takeover: the OBProxy servers that the takeover service manages."""

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
  - Provides each host with an OBProxy server that has been taken over. The name is that of the service's inventory, so
    that both inventories can be used together.
  - Its groups are C(obproxy_managed), C(obproxy_cluster_NAME), C(obproxy_status_STATUS) and
    C(obproxy_version_VERSION), in lower case, with C(_) in place of invalid characters.
  - Its variables are C(ansible_host), C(ansible_port) if known, C(ocp_host_id) and C(obproxy_servers), a list
    with C(cluster_id), C(cluster_name), C(sql_port), C(exporter_port), C(version), C(status), C(architecture),
    C(pending_restart) and C(last_active_time) of each. C(compose), C(groups) and C(keyed_groups) add more.
  - The inventory is empty unless O(url) and credentials are set. Credentials are O(access_key) with
    O(access_key_secret) or O(access_key_secret_file), or O(user) with O(password_file).
notes:
  - An OBProxy server whose takeover has not succeeded is not included.
  - Do not use a file of this plugin with O(url) in the inventory of the service itself. The service ignores the
    environment variables of this plugin.
extends_documentation_fragment:
  - constructed
options:
  plugin:
    description: The name of this plugin.
    required: true
    choices: [obproxy.takeover.obproxy_takeover]
  url:
    description: The URL of the service, such as V(https://takeover.example.com:8080).
    type: str
    env: [{name: OBPROXY_TAKEOVER_URL}]
  access_key:
    description: The id of an access key. Its user needs the permission to read OBProxy clusters and hosts.
    type: str
    env: [{name: OBPROXY_TAKEOVER_ACCESS_KEY}]
  access_key_secret:
    description: The secret of the access key.
    type: str
    env: [{name: OBPROXY_TAKEOVER_ACCESS_KEY_SECRET}]
  access_key_secret_file:
    description: A file with the secret of the access key. Used if O(access_key_secret) is not set.
    type: path
    env: [{name: OBPROXY_TAKEOVER_ACCESS_KEY_SECRET_FILE}]
  user:
    description: The name of a user. Used if O(access_key) is not set.
    type: str
    env: [{name: OBPROXY_TAKEOVER_USER}]
  password_file:
    description: A file with the password of the user.
    type: path
    env: [{name: OBPROXY_TAKEOVER_PASSWORD_FILE}]
  verify:
    description: Verify the TLS certificate of the service.
    type: bool
    default: true
  ca_file:
    description: A file with CA certificates, instead of the system's.
    type: path
  time_limit:
    description: The timeout of one request in seconds.
    type: float
    default: 10
    env: [{name: OBPROXY_TAKEOVER_TIME_LIMIT}]
"""

EXAMPLES = r"""
# managed.obproxy_takeover.yml; URL and access key are in the environment
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
        """Accept files named *.obproxy_takeover.yml; the plugin `auto` does not call this method."""
        return bool(super().verify_file(path)) and path.endswith(("obproxy_takeover.yml", "obproxy_takeover.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Read the hosts from the service and add them."""
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
        """Return a function that reads the secret or the password; None without credentials."""
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
