"""Memory stays flat over many distinct tokens. The number suits every run; make soak-tokens takes a million."""

import subprocess

from harness.process import clean_environment
from harness.program import built
from harness.timing import longer


def test_soak_of_tokens():
    done = subprocess.run(
        [*built("tests", "soak_tokens"), "2000"], env=clean_environment(), capture_output=True, text=True, check=False,
        timeout=longer(120),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
