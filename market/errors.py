"""Errors that a person reads.

* OpenstallError
  - InvalidRecord: a signed statement that breaks the rules of the catalogue
  - InvalidOrder: an order, voucher or meter tick that the two parties did not agree on
  - MoneyError: an amount that cannot be parsed, paid or held
  - PeerError: another peer is unreachable, silent or breaks the protocol
  - ChainError: the chain refuses, is unreachable or is not the one we joined
  - SandboxError: no strong sandbox, or a job broke its limits
  - IdentityError: wallet, words, passphrase, peer key
  - StoreError: the disk is full, or the store is damaged or in use
  - NotFound, Refused, Conflict: asked for what is not there, not allowed, or not possible now

Anything else that is raised is a bug and belongs in a crash report.
"""

from __future__ import annotations


class OpenstallError(Exception):
    """A failure to be shown to a person: what happened, and what to do next.

    `code` is stable and meant for programs; `message` says what happened, to whose money or data;
    `what_next` says what the reader can do.
    """

    def __init__(self, code: str, message: str, what_next: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.what_next = what_next

    def as_dict(self) -> dict[str, str]:
        """The three fields as the local API and the command line print them."""
        return {"code": self.code, "message": self.message, "what_next": self.what_next}


class InvalidRecord(OpenstallError):
    """A record that must not enter the catalogue."""


class InvalidOrder(OpenstallError):
    """An order, voucher or meter tick that does not follow from what both parties signed."""


class MoneyError(OpenstallError):
    """An amount that cannot be parsed, paid or held."""


class PeerError(OpenstallError):
    """Another peer cannot be reached, is silent, or breaks the protocol."""


class ChainError(OpenstallError):
    """The chain refuses, cannot be reached, or is not the one that was joined."""


class SandboxError(OpenstallError):
    """No strong sandbox on this machine, or a job that broke its limits."""


class IdentityError(OpenstallError):
    """Wallet, words, passphrase or peer key."""


class StoreError(OpenstallError):
    """The local store: disk full, damaged, or in use by another node."""


class NotFound(OpenstallError):
    """The thing asked for does not exist here."""


class Refused(OpenstallError):
    """Asked for something that the rules do not allow."""


class Conflict(OpenstallError):
    """Not possible in the present state."""
