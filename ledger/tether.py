"""Runs a child process that cannot outlive its parent, not even when the parent is killed with SIGKILL.

    python tether.py PARENT_PID COMMAND [ARGUMENT …]

Linux: the kernel kills the child when the thread that started it ends (PR_SET_PDEATHSIG), and this
process becomes the child, so nothing stays in between. Elsewhere this process stays, and kills the
child when its standard input, a pipe held by the parent, is closed. Standard library only: it is
started with `-I -S` and must not import the application.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Become the command (Linux) or guard it (elsewhere)."""
    parent, command = int(arguments[0]), arguments[1:]
    if platform.system() == "Linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above could count
            return 1
        os.execv(command[0], command)  # noqa: S606 - a list of our own making, no shell
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def guard() -> None:
        sys.stdin.buffer.read()
        child.kill()

    threading.Thread(target=guard, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
