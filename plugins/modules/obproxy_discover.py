"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_discover
short_description: Read the facts about a host and its OBProxy that a takeover needs
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Runs one program on the host that follows the listening socket of the SQL port to the process, its home, owner,
    package and watchdog, and logs in to the OBProxy's admin SQL through the SSH connection.
  - Changes nothing. A rejected login is a fact (C(login)), not a failure.
notes:
  - The action plugin supports check mode and diff mode.
  - The desired passwords are in the variables C(obproxy_sys_password) and C(obproxy_proxyro_password), the current
    ones in C(obproxy_current_sys_password) and C(obproxy_current_proxyro_password). They are never arguments, because
    callbacks can record arguments.
options:
  sql_port:
    description: SQL port of the OBProxy, for clients.
    type: int
    default: 2883
  package_name:
    description: Desired package of the cluster, to detect drift.
    type: str
  package_version:
    description: Desired version of the cluster as VERSION-BUILD, to detect drift.
    type: str
  app_name:
    description: Application name of the cluster's OBProxies, to detect drift.
    type: str
  desired:
    description: Desired values by parameter name, to detect drift.
    type: dict
    default: {}
  process_keywords:
    description: Names of processes to search for.
    type: list
    elements: str
    default: [obproxy, obproxyd.sh]
  commands:
    description: Commands to search for in the login shell of the OBProxy's user.
    type: list
    elements: str
    default: [nc]
  user:
    description: The user of an OBProxy that does not run.
    type: str
    default: admin
  only_known_users:
    description:
      - Send passwords only to an OBProxy of O(user) or of root, because no takeover names this OBProxy.
    type: bool
    default: false
  agent_home:
    description: Directory of the monitoring agent.
    type: path
    default: /home/admin/ocp_agent
  agent_control:
    description: Control program of the agent.
    type: path
    default: /home/admin/ocp_agent/bin/ocp_agentctl
  agent_file:
    description: Configuration file of the agent for the OBProxy, to find missing directories.
    type: path
    default: /home/admin/ocp_agent/conf/module_config/obproxy.yaml
  state_directory:
    description: Directory of the takeover's record on the host.
    type: path
    default: /var/lib/obproxy-takeover
  record:
    description:
      - Return the complete record of the state before the takeover, as a rollback needs it. Otherwise the parameters
        are left out.
    type: bool
    default: false
  fact_file:
    description: Local fact file that names the manager of the host's OBProxies.
    type: path
    default: /etc/ansible/facts.d/obproxy.fact
"""

EXAMPLES = r"""
- name: Discover the OBProxy server
  obproxy.takeover.obproxy_discover:
    sql_port: 2883
"""

RETURN = r"""
ansible_facts:
  description: One fact, C(obproxy); the README of the role prepare_obproxy_install lists its keys.
  returned: always
  type: dict
obproxy_server:
  description: What the service is to know about the OBProxy server.
  returned: success
  type: dict
obproxy_found:
  description: The OBProxy at the SQL port, for the service's discovery of hosts; its C(pid) is null without a process.
  returned: success
  type: dict
"""
