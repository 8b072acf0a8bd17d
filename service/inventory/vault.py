"""A program that opens what Ansible Vault has encrypted: JSON lists of strings, ciphertexts in, plaintexts out.

A process of its own, since Ansible is slow to import and may run a program of the operator's for the password, which
shall see little of the service. Ciphertexts come by standard input: what is secret is never an argument.
"""

import json
import sys

from ansible import constants
from ansible.cli import CLI
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib


def main() -> None:
    """Open them with the passwords that Ansible is configured with; ends with an error in Ansible's words."""
    try:
        secrets = CLI.setup_vault_secrets(DataLoader(), constants.DEFAULT_VAULT_IDENTITY_LIST, auto_prompt=False)
        vault = VaultLib(secrets)
        opened = [vault.decrypt(ciphertext.encode()).decode() for ciphertext in json.load(sys.stdin)]
    except (AnsibleError, UnicodeDecodeError) as error:
        raise SystemExit(f"[ERROR]: {error}") from None
    json.dump(opened, sys.stdout)


if __name__ == "__main__":
    main()
