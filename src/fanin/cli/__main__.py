"""``python -m fanin.cli`` is ``fanin``."""

import sys

from fanin.cli import main

sys.exit(main())
