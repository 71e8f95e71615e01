from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "torch",
    "web3",
    "libp2p",
    "trio",
    "onnxruntime",
    "numpy",
    "matplotlib",
    "fastapi",
    "httpx",
    "eth_account",
)
OURS = (
    "openstall.market",
    "openstall.market.errors",
    "openstall.market.house",  # the rules as the form writes them; pure, no keys and no network
    "openstall.market.house_hours",
    "openstall.market.money",
    "openstall.market.text",
    "openstall.resources",
    "openstall.resources.icons",
)
PROGRAM = """
import pkgutil, sys, importlib, openstall.ui
for found in pkgutil.walk_packages(openstall.ui.__path__, "openstall.ui."):
    importlib.import_module(found.name)
print("\\n".join(sys.modules))
"""


def test_the_desktop_imports_qt_and_formatting_only() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert not modules & set(HEAVY)
    ours = {name for name in modules if name.startswith("openstall.") and not name.startswith("openstall.ui")}
    assert ours <= set(OURS)
