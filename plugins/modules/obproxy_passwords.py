"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_passwords
short_description: Set the passwords of proxyro and root@proxysys to the desired ones
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Sets only passwords that differ, root@proxysys last. A new login checks each while the old connection stays open.
    When that login fails, the former password is restored.
  - OBProxy before 3.2.0 has no parameter for proxyro's password. The result reports that.
notes:
  - The action plugin supports check mode and diff mode.
  - The desired passwords are in the variables C(obproxy_sys_password) and C(obproxy_proxyro_password), the current
    ones in C(obproxy_current_sys_password) and C(obproxy_current_proxyro_password). They are never arguments, because
    callbacks can record arguments.
options:
  target:
    description: C(desired) sets the cluster's passwords. C(former) restores the recorded or given former ones.
    type: str
    choices: [desired, former]
    default: desired
"""

EXAMPLES = r"""
- name: Bring the passwords to the cluster's
  obproxy.takeover.obproxy_passwords:
    target: desired
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
  description: What could not be put back, by name and with the reason.
  returned: success
  type: list
  elements: str
failed_rules:
  description: The failed rules, each with C(rule), C(found) and C(fix). C(msg) has the same as text.
  returned: failure
  type: list
  elements: dict
"""
