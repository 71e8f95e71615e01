"""Routes of the identity: create, restore, unlock, test the back-up."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, SecretStr

from openstall.app.api.requests import Body
from openstall.app.node import Node
from openstall.market.errors import IdentityError

Passphrase = Annotated[SecretStr, Field(max_length=512)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Word = Annotated[str, Field(max_length=40)]


class Create(Body):
    """A new wallet; without a passphrase the computer's keychain guards it."""

    name: Name
    passphrase: Passphrase | None = None


class Restore(Body):
    """24 words as written down."""

    words: Annotated[list[Word] | str, Field(max_length=1000)]
    name: Name
    passphrase: Passphrase | None = None


class Unlock(Body):
    """The passphrase of the seed file; null asks the keychain."""

    passphrase: Passphrase | None = None


class Backup(Body):
    """Re-entered words by position, as `{"3": "…"}`."""

    words: Annotated[dict[str, Word], Field(max_length=24)]


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/identity")

    @routes.get("")
    async def show() -> dict[str, Any]:
        """Who this node is."""
        return node.identity.as_dict()

    @routes.post("/create")
    async def create(body: Create) -> dict[str, Any]:
        """Make a wallet; the answer holds the 24 words, once."""
        return await node.identity.create(name=body.name, passphrase=_plain(body.passphrase))

    @routes.post("/restore")
    async def restore(body: Restore) -> dict[str, Any]:
        """Make the wallet of 24 known words."""
        words = body.words.split() if isinstance(body.words, str) else body.words
        return await node.identity.restore(words, name=body.name, passphrase=_plain(body.passphrase))

    @routes.post("/unlock")
    async def unlock(body: Unlock) -> dict[str, Any]:
        """Open the wallet."""
        return await node.identity.unlock(_plain(body.passphrase))

    @routes.get("/backup")
    async def backup() -> dict[str, Any]:
        """Which words to re-enter."""
        return node.identity.backup()

    @routes.post("/backup")
    async def check_backup(body: Backup) -> dict[str, Any]:
        """Test the back-up."""
        try:
            entered = {int(position): word for position, word in body.words.items()}
        except ValueError as error:
            raise IdentityError("wrong_positions", "Positions are numbers.", "Ask again.") from error
        return await node.identity.check_backup(entered)

    return routes


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
