"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_start
short_description: See that the OBProxy runs and answers
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - A running one is only looked at. With consent one that does not run is started in its home as its files' owner,
    through its watchdog script where there is one, and judged by its socket and a login.
  - A second instance is never started.
notes:
  - Check mode and diff mode are honoured by the action plugin.
  - Passwords are read from the variables C(obproxy_sys_password), C(obproxy_proxyro_password) and what the takeover
    replaces, C(obproxy_current_sys_password) and C(obproxy_current_proxyro_password), never from arguments, which
    callbacks may record.
options:
  state:
    description:
      - C(stopped) is for the rollback of a start. It ends the watchdog and the OBProxy that the takeover has started,
        also one that has never listened, and removes what its first start has made in its home.
    type: str
    choices: [started, stopped]
    default: started
  allow:
    description: The consent.
    type: bool
    default: false
  app_name:
    description: The application name to start it with.
    type: str
    default: ""
  config_server_url:
    description: Told to an OBProxy that has no stored configuration.
    type: str
    default: ""
  rs_list:
    description: The same, for start mode rs_list.
    type: str
    default: ""
  rs_cluster_name:
    description: The OceanBase cluster behind O(rs_list); required for a first start by obproxyd.sh.
    type: str
    default: ""
  seconds:
    description: How long it may take until it listens.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: See that the OBProxy runs
  obproxy.takeover.obproxy_start:
    app_name: test
"""

RETURN = r"""
obproxy_server:
  description: What the service is to know about the OBProxy server.
  returned: success
  type: dict
failed_rules:
  description: The failed rules, each with C(rule), C(found) and C(fix). C(msg) has the same as text.
  returned: failure
  type: list
  elements: dict
"""
