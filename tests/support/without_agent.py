"""A node whose own machine runs no jobs: the command line as it is, with one more option."""

import sys

from openstall.app.cli.main import main

sys.argv.append("--no-agent")
main()
