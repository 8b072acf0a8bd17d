"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_restart
short_description: Make parameters act that need a restart
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Sets the wished parameters that act only after a restart, and restarts the OBProxy when there are such, or when
    earlier ones still wait. Otherwise, and without consent, it changes nothing.
  - From version 4.0 on by a hot restart, which refuses no connection and drains the open ones. It has succeeded when
    the new process answers with the new values; the old one serves its connections for as long as
    C(hot_upgrade_exit_timeout) says. When the new process dies, the old one goes on with its former values.
  - Before 4.0, and where the program does not start without LD_LIBRARY_PATH, which a hot restart loses, by stopping
    its watchdog, then itself, and starting both as they were. When the new process does not come up, the OBProxy is
    started with the former values. The task fails in both cases.
  - One under the deployer's (obd) watchdog or a systemd unit is started by that. Any other supervisor (supervisord,
    cron, a loop, a container) is named, and the restart is refused.
notes:
  - Check mode and diff mode are honoured by the action plugin.
  - Passwords are read from the variables C(obproxy_sys_password), C(obproxy_proxyro_password) and what the takeover
    replaces, C(obproxy_current_sys_password) and C(obproxy_current_proxyro_password), never from arguments, which
    callbacks may record.
options:
  desired:
    description: Values by name; those that act at once are left to M(obproxy_parameters).
    type: dict
    default: {}
  allow:
    description: The consent.
    type: bool
    default: false
  seconds:
    description: How long a started one may take until it listens.
    type: int
    default: 60
  drain_seconds:
    description: How long to wait at the most for the connections of the old process; what is left then is told.
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
stays:
  description: What a restart would make act, when it is not allowed.
  returned: without consent
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
