"""How much longer everything may take than on a build that is as fast as it can be."""

import os

# Where a build is slow by its nature, as under valgrind: the whole run's limits of time, times this.
SLOWNESS = float(os.environ.get("BBM_TEST_SLOWNESS") or 1)


def longer(seconds):
    """A limit of time, in seconds."""
    return seconds * SLOWNESS


def milliseconds(seconds):
    """As the configuration takes it."""
    return f"{int(seconds * 1000)}ms"
