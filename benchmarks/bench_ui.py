"""The desktop: how soon the window is there, what it imports, and whether it ever stutters.

The window and a bare PySide6 window start as processes of their own, in turns. The longest stall is
measured inside the running window, on every page in turn, by a timer that should fire every 5 ms while
the node hashes and encrypts a large package; what the event loop was late is a stall.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from table import Row

ROUNDS = 5
WATCH_S = 12.0
PACKAGE_MB = 256
SECTIONS = ("market", "sell", "orders", "library", "wallet", "network", "settings")
HEAVY = ("torch", "web3", "libp2p", "trio", "onnxruntime", "numpy", "matplotlib")

BARE = """
import sys
from PySide6.QtWidgets import QApplication, QLabel, QMainWindow
app = QApplication([])
window = QMainWindow()
window.setCentralWidget(QLabel("bare"))
window.resize(1280, 800)
"""

OURS = """
import sys
from pathlib import Path
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from openstall.ui.main_window import MainWindow
from openstall.ui.theme import Theme
app = QApplication([])
home = Path(sys.argv[1])
theme = Theme(app, "light")
settings = QSettings(str(home / "w.ini"), QSettings.Format.IniFormat)
window = MainWindow(home=home, theme=theme, settings=settings)
"""

UNTIL_PAINTED = f"""
heavy = {HEAVY!r}
from PySide6.QtCore import QEvent, QObject, QTimer
class First(QObject):
    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint:
            QTimer.singleShot(0, app.quit)
        return False
first = First()
window.installEventFilter(first)
window.show()
app.exec()
print(",".join(name for name in heavy if name in sys.modules))
"""

STALLS = f"""
sections, watch_s = {SECTIONS!r}, {WATCH_S!r}
from PySide6.QtCore import QTimer, Qt
import time
window.show()
window.begin()
state = {{"last": 0.0, "worst": 0.0, "worst_view": "", "end": 0.0, "at": 0, "ticks": 0}}
def tick():
    now = time.perf_counter()
    late = (now - state["last"]) * 1000 - 5
    if state["last"] and late > state["worst"]:
        state["worst"], state["worst_view"] = late, window.shell.spec
    state["last"] = now
    state["ticks"] += 1
    if now > state["end"]:
        print(state["worst"], state["worst_view"], state["ticks"])
        app.exit(0)
def turn():
    state["at"] += 1
    window.show_view(sections[state["at"] % len(sections)])
timer = QTimer()
timer.setTimerType(Qt.TimerType.PreciseTimer)
timer.setInterval(5)
timer.timeout.connect(tick)
turner = QTimer()
turner.setInterval(400)
turner.timeout.connect(turn)
warm = {{"left": 2 * len(sections)}}
def warm_up():
    # Every page is shown once before the watch begins; the first showing is measured as its own row.
    started = time.perf_counter()
    window.show_view(sections[warm["left"] % len(sections)])
    app.processEvents()
    state["first"] = max(state.get("first", 0.0), (time.perf_counter() - started) * 1000)
    warm["left"] -= 1
    if warm["left"]:
        QTimer.singleShot(300, warm_up)
    else:
        print(state["first"])
        sys.stdout.flush()
        state["end"] = time.perf_counter() + watch_s
        timer.start()
        turner.start()
window.arrived.connect(lambda: QTimer.singleShot(4000, warm_up))
app.exec()
window.api.close()
"""


def rows() -> Iterator[Row]:
    """Start-up, imports, stalls."""
    environment = os.environ | {"QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen")}
    with tempfile.TemporaryDirectory(prefix="openstall-bench-ui-") as folder:
        home = Path(folder)
        yield from _start_up(environment, home)
        yield from _stalls(environment, home)


def _start_up(environment: dict[str, str], home: Path) -> Iterator[Row]:
    bare, ours, heavy = [], [], ""
    for _ in range(ROUNDS):
        bare.append(_seconds(BARE + UNTIL_PAINTED, environment, home)[0])
        took, heavy = _seconds(OURS + UNTIL_PAINTED, environment, home)
        ours.append(took)
    ratio = median(ours) / median(bare)
    yield Row(
        name="window on screen against a bare PySide6 window",
        value=ratio,
        unit="x",
        limit="<= 2",
        ok=ratio <= 2,
        note=f"process start to first paint and exit: {median(ours):.2f} s against {median(bare):.2f} s",
    )
    yield Row(
        name="heavy packages imported by the desktop",
        value=len([name for name in heavy.split(",") if name]),
        unit="",
        limit="0",
        ok=not heavy,
        note=heavy or "none of " + ", ".join(HEAVY),
    )


def _seconds(program: str, environment: dict[str, str], home: Path) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, str(home)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - started, done.stdout.strip()


def _stalls(environment: dict[str, str], home: Path) -> Iterator[Row]:
    from openstall.app.demo.peers import running_peer

    with running_peer("Bench", home / "peer") as peer:
        peer.operate("/v1/group/create", name="Bench")
        peer.operate("/v1/wallet/faucet")
        busy = home / "weights.safetensors"
        _write_weights(busy, PACKAGE_MB)
        window = subprocess.Popen(
            [sys.executable, "-c", OURS + STALLS, str(peer.home)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        sold = 0
        while window.poll() is None:
            peer.operate("/v1/models/publish", **_listing(busy, sold))
            sold += 1
        lines = (window.stdout.read() if window.stdout else "").split("\n")
    first, (worst, view, ticks) = float(lines[0]), lines[1].split()
    yield Row(
        name="longest stall of the window while the node works",
        value=float(worst),
        unit="ms",
        limit="< 50 ms",
        ok=float(worst) < 50,
        note=f"{ticks} ticks of 5 ms over every page, worst on “{view}”; meanwhile the node encrypted "
        f"and listed {sold} packages of {PACKAGE_MB} MB",
    )
    yield Row(
        name="first showing of the slowest page",
        value=first,
        unit="ms",
        limit="< 100 ms",
        ok=first < 100,
        note="once for each page of a session: its parts are laid out and styled for the first time",
    )


def _write_weights(path: Path, megabytes: int) -> None:
    """A valid safetensors file of zeros."""
    size = megabytes * 1_000_000
    head = b'{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (size // 4, size)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.truncate(8 + len(head) + size)


def _listing(path: Path, number: int) -> dict[str, Any]:
    card = {"intended_use": "benchmark", "training_data": "none", "limits": "none", "metrics": []}
    return {
        "path": str(path),
        "title": f"Weights {number}",
        "summary": "Zeros.",
        "licence": "MIT",
        "price_micro": 1_000_000,
        "card": card,
        "review_s": 3600,
        "deliver_s": 3600,
        "arbiter": None,
    }
