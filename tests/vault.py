"""Encrypts text as ansible-vault does, in this process: the program takes 0.6 s of CPU time."""

from textwrap import indent

from ansible.parsing.vault import VaultLib, VaultSecret


def encrypted(password: str, text: str) -> str:
    """Return a text as `ansible-vault encrypt` writes it."""
    vault = VaultLib([("default", VaultSecret(password.encode()))])
    return bytes(vault.encrypt(text)).decode()


def encrypted_value(password: str, name: str, text: str) -> str:
    """Return a variable in YAML as `ansible-vault encrypt_string --name` prints it."""
    return f"{name}: !vault |\n" + indent(encrypted(password, text), " " * 10)
