"""What becomes of a process whose rank 0 answers no more."""

import subprocess
import sys

PROGRAM = """
import threading
from detnas_mm.executors.job import Job
from detnas_mm.executors.watch import JobLimits, watch

class FrozenStore:
    def add(self, key, amount):
        threading.Event().wait()

watch._GRACE_SECONDS, watch._WATCHDOG_SECONDS = 0.5, 0.1
watch.Watch(
    Job(FrozenStore(), 1, 2), JobLimits(patience=0.5), interrupt=print
)
threading.Event().wait()
"""


def test_a_rank_0_that_does_not_answer_ends_the_others():
    """Its machine hangs: the connection is there, and nothing comes."""
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM], capture_output=True, timeout=200
    )
    assert done.returncode == 2
    assert done.stderr.endswith(
        b'error: rank 0 has not answered for 1 s: its machine hangs, or the '
        b'network; go on with --resume\n'
    )
