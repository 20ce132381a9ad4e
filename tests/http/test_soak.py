"""Memory over many distinct tokens, at a scale for every day; make soak takes a million."""

import os
import subprocess

from harness.process import clean_environment
from harness.service import build_folder


def test_soak_of_tokens():
    program = os.path.join(build_folder(), "tests", "soak_tokens")
    done = subprocess.run(
        [program, "2000"], env=clean_environment(), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
