"""What a process of ``processes.start`` runs: an app, its output in a file. ``forked.py APP LOG [ARGUMENT ...]``."""

import os
import runpy
import sys

if __name__ == "__main__":
    _, app, log, *arguments = sys.argv
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = [app, *arguments]
    runpy.run_path(app, run_name="__main__")
