"""Runs `python -m components.settings`; see `stack_file.py`."""

import sys

from components.settings.stack_file import main

if __name__ == "__main__":
    sys.exit(main())
