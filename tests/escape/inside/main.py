"""Runs attempts in the order it was told and says after each what came of it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

settings = json.loads(sys.argv[1])
inputs = os.environ.get("OPENSTALL_INPUTS", "/job/in") if settings["boxed"] else settings["inputs"]
sys.path.insert(0, inputs)

import attempts  # noqa: E402
import files  # noqa: E402
import kernel  # noqa: E402
import network  # noqa: E402
import processes  # noqa: E402

import resources  # noqa: E402

OWNERS = (files, kernel, network, processes, resources)


def main() -> None:
    attempts.FACTS.update(settings["facts"])
    attempts.FACTS["inputs"] = inputs
    attempts.FACTS["out"] = str(Path.cwd())
    for name in settings["names"]:
        attempts.say(name, "trying")
        try:
            words = attempts.ATTEMPTS[name].try_it()
        except attempts.NotTried as error:
            attempts.say(name, "not tried", str(error))
        except (OSError, attempts.Blocked, MemoryError, RuntimeError) as error:
            attempts.say(name, "blocked", f"{type(error).__name__}: {error}")
        else:
            attempts.say(name, "open", str(words or ""))
    attempts.say("", "end")


if __name__ == "__main__":
    main()
