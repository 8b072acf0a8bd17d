"""Secrets as a worker hands them to a run."""

from cryptography.fernet import Fernet
from pydantic import SecretStr

from service.store.keyring import EncryptedSecrets, Secrets


def encrypted(**secrets: str) -> EncryptedSecrets:
    """By name, encrypted with a key of their own."""
    vault = Secrets(SecretStr(Fernet.generate_key().decode()))
    return vault.bundle({name: vault.encrypt(SecretStr(secret)) for name, secret in secrets.items()})
