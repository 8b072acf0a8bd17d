"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_restart
short_description: Restart an OBProxy so that pending parameters take effect
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Sets the desired parameters that take effect only after a restart. Restarts the OBProxy if there are any, or if
    earlier ones are pending. Without permission it changes nothing.
  - From version 4.0 on it does a hot restart, which rejects no connection and drains the open ones. It has succeeded
    when the new process responds with the new values. The old process serves its connections until
    C(hot_upgrade_exit_timeout). When the new process dies, the old one continues with its former values.
  - Before 4.0 it does a cold restart, which stops the watchdog and the OBProxy and starts both again. A program that
    needs LD_LIBRARY_PATH, which a hot restart loses, gets a cold restart too. When the new process does not start,
    the OBProxy is started with the former values. The Ansible task fails in both cases.
  - The deployer's (obd) watchdog or a systemd unit starts its OBProxy itself. Under any other supervisor (supervisord,
    cron, a loop, a container) the restart is rejected, and the message names the supervisor.
notes:
  - The action plugin supports check mode and diff mode.
  - The desired passwords are in the variables C(obproxy_sys_password) and C(obproxy_proxyro_password), the current
    ones in C(obproxy_current_sys_password) and C(obproxy_current_proxyro_password). They are never arguments, because
    callbacks can record arguments.
options:
  state:
    description:
      - C(applied) restarts the OBProxy only if a parameter needs it, and does nothing without permission.
      - C(restarted) always restarts it, once per O(restart_id). It fails without permission.
      - C(drained) restarts nothing. It waits for the former processes of earlier restarts.
    type: str
    choices: [applied, restarted, drained]
    default: applied
  restart_id:
    description:
      - Identifies a restart with O(state=restarted). A repeated run with the same value does not restart the OBProxy
        again. Empty means that every run restarts it.
    type: str
    default: ""
  allow_cold:
    description: Permission for O(state=restarted) to disconnect the clients where no hot restart is possible.
    type: bool
    default: false
  desired:
    description: Desired values by parameter name. M(obproxy_parameters) sets those that take effect at once.
    type: dict
    default: {}
  allow:
    description: Permission to restart.
    type: bool
    default: false
  seconds:
    description: Seconds until a started OBProxy must listen.
    type: int
    default: 60
  drain_seconds:
    description:
      - Longest time in seconds to wait for the connections of old processes, before and after the restart together.
        The result has the number of open ones.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Restart it where that is needed, one host at a time
  obproxy.takeover.obproxy_restart:
    desired: "{{ obproxy_parameters }}"
    allow: "{{ obproxy_allow_restart }}"
  throttle: 1
"""

RETURN = r"""
changes:
  description: >-
    What has changed on the host, or would change in check mode. Each has C(what), C(name), C(before), C(after) and
    C(needs_restart). A password has no value.
  returned: when something changes
  type: list
  elements: dict
stays:
  description: What a restart would make act, when it is not allowed.
  returned: without permission
  type: list
  elements: str
obproxy_server:
  description: What the service is to know about the OBProxy server.
  returned: after a restart
  type: dict
failed_rules:
  description: The failed rules, each with C(rule), C(found) and C(fix). C(msg) has the same as text.
  returned: failure
  type: list
  elements: dict
"""
