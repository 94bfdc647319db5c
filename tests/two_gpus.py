"""Running code in a process with two GPUs of the stand-in."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path


def with_two_gpus(code):
    """Run code in a new process in which work on a GPU that is not current is an error.

    CuPy warns about such work, and the process turns warnings into errors.
    """
    start = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import cupy_stand_in
        cupy_stand_in.activate({os.environ["DLSKILLS_HIPEMU_BUILD"]!r})
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(start) + textwrap.dedent(code)],
        env=os.environ | {"HIPEMU_DEVICES": "2"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
