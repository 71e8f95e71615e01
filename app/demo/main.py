"""`openstall demo`: set the stage, play both journeys, print the receipt, show the buyer's desktop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from openstall.app.demo.dataset import write_data
from openstall.app.demo.journeys import (
    Cast,
    Story,
    buy_and_check,
    list_model,
    offer_machine,
    open_market,
    rent_and_train,
)
from openstall.app.demo.peers import DemoPeer, running_peer
from openstall.app.demo.receipt import make_receipt, save_receipt
from openstall.app.demo.workshop import ask_and_bid, deliver, train_models, workshop
from openstall.compute_agent.runtime import find_runtime
from openstall.market.errors import Refused

Tell = Callable[[str, float | None], None]
_CAPTURE_TIMEOUT_S = 120


def run_demo(folder: Path, *, headless: bool, pictures: bool, show: Callable[[dict[str, Any]], None]) -> None:
    """Play the demo in `folder`, which must not exist or be a former demo's; `show` is given the receipt."""
    begun = time.monotonic()
    display = not headless and _has_display()
    _fresh(folder)
    story = Story(tell=_tell, picture=_Pictures(folder / "screenshots") if pictures else _no_picture)
    with (
        _opened_market(story, folder) as (cast, train, holdout),
        workshop(story, cast, folder) as shop,
    ):
        # First, because its auctions last as long as the rest.
        ask_and_bid(story, cast, shop, holdout)
        listing = _with_a_model(story, cast, train, folder)
        models = train_models(story, shop, train, folder)
        buy_and_check(story, cast, listing, holdout)
        deliver(story, cast, shop, models)
        peers = [*cast.all, *(shop.developers[name] for name in ("ada", "ben"))]
        receipt = make_receipt(story, peers, time.monotonic() - begun)
        text = save_receipt(receipt, folder)
        show(receipt)
        _say(f"Saved in {text.parent}")
        if display:
            _say("The desktop opens on the buyer's side; close it to end the demo.")
            _open_desktop(cast)


def try_demo(
    folder: Path, *, headless: bool, leashed: bool, tell: Tell, opened: Callable[[dict[str, Any]], None]
) -> None:
    """Set the market up in `folder` with a model and a machine on sale, and leave the buying to a person.

    It stands until the buyer's desktop is closed or, headless, until the process is told to end. `opened`
    is given the homes when everything is there. `leashed`: give up when standard input closes before that,
    because whoever started us is gone or has changed their mind.
    """
    _fresh(folder)
    leash = Leash() if leashed else None
    story = Story(tell=tell, picture=_no_picture)
    with _ended_by_signal(), _opened_market(story, folder) as (cast, train, holdout):
        _with_a_model(story, cast, train, folder)
        homes = {peer.name: str(peer.home) for peer in cast.all}
        if leash is not None:
            leash.drop()
        opened({"homes": homes, "rows": str(holdout)})
        if headless:
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
        else:
            _open_desktop(cast)


@contextmanager
def _opened_market(story: Story, folder: Path) -> Iterator[tuple[Cast, Path, Path]]:
    """Three peers in a group with a machine for rent; the rows to train on, and those of the buyer."""
    train, holdout = write_data(find_runtime(), folder)
    with ExitStack() as stack:
        with story.step("Three nodes start, each with a wallet of its own"):
            peers = {
                name: stack.enter_context(running_peer(name, folder / name))
                for name in ("provider", "seller", "buyer")
            }
        cast = Cast(**peers)
        open_market(story, cast)
        offer_machine(story, cast)
        yield cast, train, holdout


def _with_a_model(story: Story, cast: Cast, train: Path, folder: Path) -> dict[str, Any]:
    """A model is trained on the rented machine and listed; the listing as the buyer has it."""
    return list_model(story, cast, rent_and_train(story, cast, train, folder / "trained"))


def _open_desktop(cast: Cast) -> None:
    """Show the buyer's window until it is closed."""
    command = [sys.executable, "-P", "-m", "openstall.ui.main", "--home", str(cast.buyer.home)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as window:
        try:
            window.wait()
        finally:
            window.terminate()


class Leash:
    """Ends this process, in good order, when its standard input closes; until it is dropped."""

    def __init__(self) -> None:
        self._held = True
        threading.Thread(target=self._watch, daemon=True).start()

    def drop(self) -> None:
        """From now on standard input may close."""
        self._held = False

    def _watch(self) -> None:
        # Not through sys.stdin: a thread that waits in it when the interpreter ends is a fatal error.
        while os.read(0, 1):
            pass
        if self._held:
            os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that the nodes are stopped and not left behind."""

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Pictures:
    """Takes pictures of the real desktop on a peer's node, light and dark."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True)

    def __call__(self, peer: DemoPeer, view: str, name: str) -> None:
        environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
        for theme in ("light", "dark"):
            with tempfile.TemporaryDirectory(dir=self._folder) as out:
                command = [sys.executable, "-P", "-m", "openstall.ui.capture", "--home", str(peer.home)]
                command += ["--out", out, "--views", view, "--theme", theme]
                done = subprocess.run(
                    command,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=_CAPTURE_TIMEOUT_S,
                    check=False,
                )
                if done.returncode:
                    raise Refused("no_picture", f"No picture of {view}: {done.stderr[-800:]}")
                (picture,) = Path(out).glob("*.png")
                picture.replace(self._folder / f"{name}-{theme}.png")


def _no_picture(peer: DemoPeer, view: str, name: str) -> None:
    """Pictures are switched off."""


def _has_display() -> bool:
    return sys.platform in ("win32", "darwin") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _fresh(folder: Path) -> None:
    if folder.exists():
        if not (folder / "demo-market").is_file() and any(folder.iterdir()):
            raise Refused(
                "folder_in_use", f"{folder} holds something else.", "Choose an empty folder with --out."
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / "demo-market").write_text("This folder belongs to the demo; every run empties it.\n")


def _tell(words: str, took_s: float | None) -> None:
    _say(f"… {words}" if took_s is None else f"  done in {took_s:.1f} s")


def _say(words: str) -> None:
    sys.stderr.write(words + "\n")
    sys.stderr.flush()
