"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_start
short_description: Check that the OBProxy runs, or start it
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - A running OBProxy is only checked. With permission, a stopped one is started in its home as its user, by its
    watchdog script if there is one. Its socket and a login are checked.
  - Never starts a second instance.
notes:
  - The action plugin supports check mode and diff mode.
  - The desired passwords are in the variables C(obproxy_sys_password) and C(obproxy_proxyro_password), the current
    ones in C(obproxy_current_sys_password) and C(obproxy_current_proxyro_password). They are never arguments, because
    callbacks can record arguments.
options:
  state:
    description:
      - C(stopped) rolls a start back. It stops the watchdog and the OBProxy that the takeover has started, also one
        that
        has never listened, and removes the files of its first start from its home.
    type: str
    choices: [started, stopped]
    default: started
  allow:
    description: Permission to start.
    type: bool
    default: false
  app_name:
    description: Application name to start it with.
    type: str
    default: ""
  config_server_url:
    description: URL of the config server, for an OBProxy without stored configuration.
    type: str
    default: ""
  rs_list:
    description: List of root servers, for an OBProxy without stored configuration in start mode rs_list.
    type: str
    default: ""
  rs_cluster_name:
    description: The OceanBase cluster behind O(rs_list); required for a first start by obproxyd.sh.
    type: str
    default: ""
  seconds:
    description: Seconds until it must listen.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: See that the OBProxy runs
  obproxy.takeover.obproxy_start:
    app_name: test
"""

RETURN = r"""
changes:
  description: >-
    What has changed on the host, or would change in check mode. Each has C(what), C(name), C(before), C(after) and
    C(needs_restart). A password has no value.
  returned: when something changes
  type: list
  elements: dict
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
