"""The tests of this folder import its module `in_process`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
