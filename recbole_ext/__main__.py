"""``python -m recbole_ext`` is ``recbole-ext``."""

import sys

from recbole_ext.cli import main

if __name__ == "__main__":
    sys.exit(main())
