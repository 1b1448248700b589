"""Secrets at rest: AES-256-GCM, bound to their owner and version."""

from __future__ import annotations

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import SettingsError

_NONCE_BYTES = 12


class Sealer:
    """Seals and opens secrets with one key; what was sealed for one owner opens for no other."""

    def __init__(self, secret_key: str) -> None:
        self._cipher = AESGCM(hashlib.sha256(b"muster.seal\0" + secret_key.encode()).digest())

    def seal(self, secret: bytes, owner: str, version: int) -> bytes:
        """Encrypt `secret`; the nonce comes first, then the ciphertext with its tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, _context(owner, version))

    def open(self, sealed: bytes, owner: str, version: int) -> bytes:
        """Decrypt; raises SettingsError when the key is not the one it was sealed with."""
        try:
            return self._cipher.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _context(owner, version)
            )
        except (InvalidTag, ValueError) as error:
            message = "MUSTER_SECRET_KEY is not the key that the stored secrets were sealed with."
            raise SettingsError(message) from error


def _context(owner: str, version: int) -> bytes:
    return f"{owner}\0{version}".encode()
