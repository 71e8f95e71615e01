"""Who this node is: the peer key, the wallet behind its 24 words, and a back-up that was tested."""

from __future__ import annotations

import os
import secrets as randomness
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from openstall.app.events import EventBus
from openstall.app.logging import Secrets, get_logger
from openstall.app.paths import Home
from openstall.app.threads import Workers
from openstall.ledger import keys
from openstall.ledger.wallet import Wallet
from openstall.market.errors import Conflict, IdentityError
from openstall.store.settings import Settings

MAX_PASSPHRASE_BYTES = 1024
MAX_NAME_CHARS = 60
CHALLENGE_WORDS = 3
_NAME = "identity.name"
_TESTED = "identity.backup_tested"

log = get_logger("openstall.identity")


class IdentityService:
    """Creates, restores, unlocks. Call from the trio thread; slow parts run on worker threads."""

    def __init__(
        self,
        *,
        home: Home,
        settings: Settings,
        workers: Workers,
        bus: EventBus,
        secrets: Secrets,
        on_open: Callable[[], None],
    ) -> None:
        """`on_open` is called each time that the wallet becomes usable."""
        self._home = home
        self._settings = settings
        self._workers = workers
        self._bus = bus
        self._secrets = secrets
        self._on_open = on_open
        self._seed: keys.PeerSeed | None = None
        self._wallet: Wallet | None = None
        self._words: tuple[str, ...] = ()
        self._challenge: tuple[int, ...] = ()
        self._name = ""
        self._tested = False
        self._busy = False
        self.trouble: dict[str, str] | None = None
        """Why the wallet did not open by itself at the start."""

    @property
    def state(self) -> str:
        """`none`, `locked` or `open`."""
        if self._wallet is not None:
            return "open"
        return "locked" if self._home.wallet.exists() else "none"

    @property
    def peer_id(self) -> str:
        """The peer id of this node."""
        return self.peer_seed_object.peer_id

    @property
    def peer_seed(self) -> bytes:
        """The 32 bytes that records and connections are signed with."""
        return self.peer_seed_object.secret

    @property
    def peer_seed_object(self) -> keys.PeerSeed:
        """The peer key; it is there once `start` has returned."""
        if self._seed is None:
            raise RuntimeError("identity was used before it was started")
        return self._seed

    @property
    def name(self) -> str:
        """The name that a person gave; empty before."""
        return self._name

    @property
    def wallet(self) -> Wallet:
        """The open wallet; IdentityError where there is none or it is locked."""
        if self._wallet is not None:
            return self._wallet
        if self.state == "none":
            raise IdentityError(
                "no_wallet", "There is no wallet yet.", "Create one, or restore one from 24 words."
            )
        raise IdentityError("wallet_locked", "Your wallet is locked.", "Unlock it with its passphrase.")

    async def start(self, *, passphrase_file: Path | None) -> None:
        """Load the peer key, and open the wallet if that needs nobody.

        Raises:
            IdentityError: the peer key file is damaged. A wallet that does not open is only logged.
        """
        self._seed = await self._workers.store(keys.load_peer_seed, self._home.peer_key)
        self._name = await self._workers.store(self._settings.get, _NAME, "")
        self._tested = await self._workers.store(self._settings.get, _TESTED, default=False)
        if not self._home.wallet.exists():
            return
        try:
            kind = await self._workers.store(keys.seed_file_kind, self._home.wallet)
            if kind == "keychain":
                await self.unlock(None)
            elif passphrase_file is not None:
                await self.unlock(await self._workers.store(_read_passphrase, passphrase_file))
        except IdentityError as error:
            self.trouble = error.as_dict()
            log.warning("wallet stays locked", code=error.code, reason=error.message)

    async def create(self, *, name: str, passphrase: str | None) -> dict[str, Any]:
        """A new wallet; the only time that the words are handed out."""
        words = keys.new_words()
        await self._adopt(words, name=name, passphrase=passphrase, tested=False)
        return {"words": list(words), "peer_id": self.peer_id, "wallet": self.wallet.address}

    async def restore(self, words: Sequence[str], *, name: str, passphrase: str | None) -> dict[str, Any]:
        """The wallet of 24 words that were written down before."""
        entered = tuple(word.strip().lower() for word in words)
        await self._adopt(entered, name=name, passphrase=passphrase, tested=True)
        return {"peer_id": self.peer_id, "wallet": self.wallet.address}

    async def unlock(self, passphrase: str | None) -> dict[str, Any]:
        """Open the seed file; IdentityError `wrong_passphrase` leaves it locked."""
        if passphrase is not None:
            self._secrets.add(passphrase)
        if self._wallet is None:
            words = await self._workers.work(keys.open_seed_file, self._home.wallet, passphrase=passphrase)
            await self._opened(words)
        return self.as_dict()

    def backup(self) -> dict[str, Any]:
        """Which words to re-enter, counted from 1."""
        if self._tested:
            return {"positions": [], "tested": True}
        self._need_words()
        if not self._challenge:
            self._new_challenge()
        return {"positions": list(self._challenge), "tested": False}

    async def check_backup(self, entered: Mapping[int, str]) -> dict[str, Any]:
        """Compare the re-entered words; a mistake draws other positions."""
        words = self._need_words()
        if set(entered) != set(self._challenge):
            raise IdentityError(
                "wrong_positions", "These are not the words that were asked for.", "Ask again."
            )
        wrong = [at for at in self._challenge if entered[at].strip().lower() != words[at - 1]]
        if wrong:
            self._new_challenge()
            raise IdentityError(
                "wrong_words",
                f"Word {' and word '.join(str(at) for at in wrong)} differs from your wallet's.",
                "Look at what you wrote down. You will be asked for other words.",
            )
        await self._workers.store(self._settings.set, _TESTED, value=True)
        self._tested, self._words, self._challenge = True, (), ()
        self._bus.publish("status", {"part": "identity"})
        return {"tested": True}

    def as_dict(self) -> dict[str, Any]:
        """The identity as the status shows it."""
        return {
            "state": self.state,
            "peer_id": self.peer_id,
            "wallet": self._wallet.address if self._wallet else None,
            "name": self._name,
            "backup_tested": self._tested,
        }

    async def _adopt(self, words: Sequence[str], *, name: str, passphrase: str | None, tested: bool) -> None:
        clean = " ".join(name.split())
        if not 1 <= len(clean) <= MAX_NAME_CHARS or not clean.isprintable():
            raise IdentityError("bad_name", f"A name has 1 to {MAX_NAME_CHARS} printable characters.")
        if self.state != "none" or self._busy:
            raise Conflict(
                "wallet_exists",
                "This node has a wallet already.",
                "Use another home folder for a second one.",
            )
        keys.check_words(words)
        self._secrets.add(" ".join(words), *([passphrase] if passphrase else []))
        self._busy = True
        try:
            # The seed file comes last: with it the identity exists, before it nothing does.
            await self._workers.store(self._settings.set, _NAME, clean)
            await self._workers.store(self._settings.set, _TESTED, tested)
            self._name, self._tested = clean, tested
            await self._workers.work(keys.create_seed_file, self._home.wallet, words, passphrase=passphrase)
            await self._opened(tuple(words))
        finally:
            self._busy = False

    async def _opened(self, words: tuple[str, ...]) -> None:
        self._wallet = await self._workers.work(Wallet.from_words, words)
        self._words = () if self._tested else words
        self.trouble = None
        log.info("wallet open", wallet=self._wallet.address)
        self._bus.publish("status", {"part": "identity"})
        self._on_open()

    def _need_words(self) -> tuple[str, ...]:
        if not self._words:
            _ = self.wallet
            raise Conflict("backup_tested", "The back-up was tested already.")
        return self._words

    def _new_challenge(self) -> None:
        draw = randomness.SystemRandom().sample(range(1, keys.WORD_COUNT + 1), CHALLENGE_WORDS)
        self._challenge = tuple(sorted(draw))


def _read_passphrase(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_PASSPHRASE_BYTES + 1)
            others = os.name != "nt" and os.fstat(file.fileno()).st_mode & 0o077
    except OSError as error:
        raise IdentityError(
            "passphrase_file", f"The passphrase file cannot be read: {error.strerror}.", "Check its path."
        ) from error
    if others:
        log.warning("others on this machine can read the passphrase file", path=str(path))
    if len(raw) > MAX_PASSPHRASE_BYTES:
        raise IdentityError(
            "passphrase_file", "The passphrase file is too large to be one.", "Check its path."
        )
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise IdentityError(
            "passphrase_file", "The passphrase file is not text.", "Check its path."
        ) from error
