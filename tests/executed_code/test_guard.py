"""When a process began: edits before that are part of what it runs, edits after it are not."""

import subprocess
import sys
import time

ASK = "from ganpress.executed_code.guard import start_of_this_process; print(start_of_this_process())"


def test_the_start_of_a_process_is_known_to_a_tick():
    before = time.time()
    said = subprocess.run([sys.executable, "-c", ASK], check=True, capture_output=True, text=True).stdout
    assert before - 0.05 < float(said) < time.time()
