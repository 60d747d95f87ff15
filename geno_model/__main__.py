"""`python -m geno_model COMMAND ...`: the console scripts, where none are on the path.

Belongs here: which command is which module. Does not: options, or anything heavy.
"""

from __future__ import annotations

import importlib
import sys

COMMANDS = {"score": "score", "verify": "verify", "import": "importer", "release": "release"}


def main() -> None:
    """Run `geno-COMMAND` with the arguments that follow. Exit code 2 for no or another command."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(f"usage: python -m geno_model {{{','.join(COMMANDS)}}} ... (each has --help)", file=sys.stderr)
        raise SystemExit(2)
    command = sys.argv.pop(1)
    sys.argv[0] = f"geno-{command}"
    importlib.import_module(f"geno_model.cli.{COMMANDS[command]}").main()


if __name__ == "__main__":
    main()
