"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_passwords
short_description: Bring the passwords of proxyro and root@proxysys to the wished ones
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Sets only what differs, root@proxysys last, and proves it by a new login while the old connection stays open;
    when the login fails the former password is put back.
  - OBProxy before 3.2.0 cannot be told proxyro's password; that is reported.
notes:
  - Check mode and diff mode are honoured by the action plugin.
  - Passwords are read from the variables C(obproxy_sys_password), C(obproxy_proxyro_password) and what the takeover
    replaces, C(obproxy_current_sys_password) and C(obproxy_current_proxyro_password), never from arguments, which
    callbacks may record.
options:
  target:
    description: C(desired) as the cluster wants; C(former) as they were before, where that is recorded or given.
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
