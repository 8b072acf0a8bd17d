"""Fixtures for tests of files that belong to another user, and of TLS."""

import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SOMEBODY: dict[str, Any] = {"uid": 65534, "gid": 65534, "groups": [65534]}


@pytest.fixture
def home() -> Iterator[Path]:
    """Yield a directory of another user, below directories that all users may pass, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        home = Path(directory) / "home"
        home.mkdir()
        if os.geteuid() == 0:
            os.chown(home, SOMEBODY["uid"], SOMEBODY["gid"])
        yield home


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a certificate for 127.0.0.1; its key lies beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    number = x509.random_serial_number()
    builder = x509.CertificateBuilder(name, name, key.public_key(), number, now, now + timedelta(1))
    made = builder.sign(key, hashes.SHA256())
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    (tmp_path / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return tmp_path / "certificate.pem"
