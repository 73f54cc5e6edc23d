"""A run that another command of Otus started for what it reports, and that ends with it."""

from __future__ import annotations

import sys

from otus_core import cli
from otus_core.process.privilege import die_with_parent


def main() -> None:
    """Run the command line behind the process id of who started it."""
    die_with_parent(int(sys.argv.pop(1)))
    sys.exit(cli.main())
