"""`python -m bridge` is the command `bridge`."""

import sys

from bridge.cli.main import main

sys.exit(main())
