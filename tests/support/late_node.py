"""A node whose clock a test moves forward, run as a process of its own.

python late_node.py FILE [the command line of openstall]; FILE holds the seconds that are added.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

_AHEAD = Path(sys.argv.pop(1))
_honest = time.time


def _later() -> float:
    return _honest() + int(_AHEAD.read_text())


time.time = _later

if __name__ == "__main__":
    from openstall.app.cli.main import main

    main()
