"""The OS keychain, through an allow-list of back ends that really protect a secret.

`keyring.get_keyring()` is not asked: with `keyrings.alt` installed it may pick a plain-text file, or one
that asks for a password on standard input and so hangs a desktop.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from openstall.market.errors import IdentityError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "openstall"
ALLOWED = frozenset(
    {
        "keyring.backends.SecretService",
        "keyring.backends.kwallet",
        "keyring.backends.Windows",
        "keyring.backends.macOS",
    }
)


def available() -> bool:
    """Whether this desktop session has a keychain that we trust."""
    return _backend() is not None


def store(name: str, secret: bytes) -> None:
    """Keep a secret under a name.

    Raises:
        IdentityError: `no_keychain` or `keychain_locked`.
    """
    from keyring.errors import KeyringError

    try:
        _need().set_password(SERVICE, name, base64.b64encode(secret).decode())
    except KeyringError as error:
        raise _locked() from error


def load(name: str) -> bytes:
    """The secret of a name.

    Raises:
        IdentityError: `no_keychain`, `keychain_locked`, or `keychain_entry_lost`.
    """
    from keyring.errors import KeyringError

    try:
        text = _need().get_password(SERVICE, name)
    except KeyringError as error:
        raise _locked() from error
    try:
        secret = base64.b64decode(text or "", validate=True)
    except ValueError:
        secret = b""
    if len(secret) != 32:
        raise IdentityError(
            "keychain_entry_lost",
            "The keychain of this computer no longer holds the wallet's key.",
            "Restore the wallet from its 24 words.",
        )
    return secret


def delete(name: str) -> None:
    """Forget a secret; one that is gone already is fine.

    Raises:
        IdentityError: `no_keychain` or `keychain_locked`.
    """
    from keyring.errors import KeyringError, PasswordDeleteError

    try:
        _need().delete_password(SERVICE, name)
    except PasswordDeleteError:
        return
    except KeyringError as error:
        raise _locked() from error


def _need() -> KeyringBackend:
    backend = _backend()
    if backend is None:
        raise IdentityError(
            "no_keychain",
            "This computer session has no keychain that can hold a key.",
            "Choose a passphrase instead.",
        )
    return backend


def _backend() -> KeyringBackend | None:
    from keyring.backend import get_all_keyring

    usable = [
        backend
        for backend in get_all_keyring()
        if type(backend).__module__ in ALLOWED and backend.priority > 0
    ]
    return max(usable, key=lambda backend: float(backend.priority), default=None)


def _locked() -> IdentityError:
    return IdentityError(
        "keychain_locked", "The keychain of this computer is locked.", "Unlock it and try again."
    )
