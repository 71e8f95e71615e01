"""`openstall demo`: set the stage, play both journeys, print the receipt, show the buyer's desktop."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from openstall.app.demo.dataset import write_data
from openstall.app.demo.journeys import Cast, Story, open_market, rent_and_train, sell_and_buy
from openstall.app.demo.peers import DemoPeer, running_peer
from openstall.app.demo.receipt import make_receipt, save_receipt
from openstall.compute_agent.runtime import find_runtime
from openstall.market.errors import Refused

_CAPTURE_TIMEOUT_S = 120


def run_demo(folder: Path, *, headless: bool, pictures: bool, show: Callable[[dict[str, Any]], None]) -> None:
    """Play the demo in `folder`, which must not exist or be a former demo's; `show` is given the receipt."""
    begun = time.monotonic()
    _fresh(folder)
    display = not headless and _has_display()
    story = Story(say=_say, picture=_Pictures(folder / "screenshots") if pictures else _no_picture)
    runtime = find_runtime()
    train, holdout = write_data(runtime, folder)
    with ExitStack() as stack:
        with story.step("Three nodes start, each with a wallet of its own"):
            peers = {
                name: stack.enter_context(running_peer(name, folder / name))
                for name in ("provider", "seller", "buyer")
            }
        cast = Cast(**peers)
        open_market(story, cast)
        model = rent_and_train(story, cast, train, folder / "trained")
        sell_and_buy(story, cast, model, holdout)
        receipt = make_receipt(story, cast.all, time.monotonic() - begun)
        text = save_receipt(receipt, folder)
        show(receipt)
        _say(f"Saved in {text.parent}")
        if display:
            _say("The desktop opens on the buyer's side; close it to end the demo.")
            subprocess.run(
                [sys.executable, "-P", "-m", "openstall.ui.main", "--home", str(cast.buyer.home)], check=False
            )


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


def _say(words: str) -> None:
    sys.stderr.write(words + "\n")
    sys.stderr.flush()
