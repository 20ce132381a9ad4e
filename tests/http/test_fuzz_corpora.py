"""What the fuzzers found to reach the most code, once more: quick, and under the sanitizers too."""

import os
import subprocess

import pytest
from harness.postgres import REPOSITORY
from harness.process import clean_environment, sanitizer_report
from harness.program import built
from harness.timing import longer

CORPUS = os.path.join(REPOSITORY, "tests", "fuzz", "corpus")


@pytest.mark.parametrize("target", sorted(os.listdir(CORPUS)))
def test_corpus(target):
    folder = os.path.join(CORPUS, target)
    files = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    done = subprocess.run(
        [*built("tests", "fuzz", target), *files], env=clean_environment(), capture_output=True, text=True, check=False,
        timeout=longer(120),
    )  # fmt: skip
    assert done.returncode == 0 and sanitizer_report(done.stderr) is None, done.stderr[-4000:]
    assert done.stdout.split() == [str(len(files)), "replayed"]
