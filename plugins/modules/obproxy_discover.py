"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_discover
short_description: Read everything that a takeover needs to know about a host and its OBProxy
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Runs one program on the host that follows the listening socket of the SQL port to the process, its home, owner,
    package and watchdog, and logs in to the OBProxy's admin SQL through the SSH connection.
  - Changes nothing. A refused login is a fact (C(login)), not a failure.
notes:
  - Check mode and diff mode are honoured by the action plugin.
  - Passwords are read from the variables C(obproxy_sys_password), C(obproxy_proxyro_password) and what the takeover
    replaces, C(obproxy_current_sys_password) and C(obproxy_current_proxyro_password), never from arguments, which
    callbacks may record.
options:
  sql_port:
    description: The port at which clients reach the OBProxy.
    type: int
    default: 2883
  package_name:
    description: The package that the cluster wants; only to tell drift.
    type: str
  package_version:
    description: The VERSION-BUILD that the cluster wants; only to tell drift.
    type: str
  app_name:
    description: The application name of the cluster's OBProxies; only to tell drift.
    type: str
  process_keywords:
    description: Names of processes to look for.
    type: list
    elements: str
    default: [obproxy, obproxyd.sh]
  commands:
    description: Commands to look for in the login shell of the OBProxy's user.
    type: list
    elements: str
    default: [nc]
  user:
    description: The user of an OBProxy that does not run.
    type: str
    default: admin
  agent_home:
    description: Where the monitoring agent is installed.
    type: path
    default: /home/admin/ocp_agent
  agent_control:
    description: The agent's control program.
    type: path
    default: /home/admin/ocp_agent/bin/ocp_agentctl
  agent_file:
    description: The file that tells the agent about the OBProxy; only to know which directories it lacks.
    type: path
    default: /home/admin/ocp_agent/conf/module_config/obproxy.yaml
  state_directory:
    description: Where a takeover keeps its record on the host.
    type: path
    default: /var/lib/obproxy-takeover
  record:
    description: Tell the record of the state before the takeover whole, for a rollback, not without its parameters.
    type: bool
    default: false
  fact_file:
    description: Where a manager signs the host.
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
"""
