"""ministack, as a child process that ends with its parent: see dev/emulated_aws.py.

`python -I dev/emulator.py [FOLDER]`: the folder is removed when this ends.
"""

import atexit
import itertools
import os
import shutil
import signal
import sys
import threading

from ministack import app
from ministack.services import cognito

folders = sys.argv[1:]
del sys.argv[1:]  # ministack reads them too
numbers = itertools.count(1)


def remove_folders() -> None:
    """Remove what was written: the parent may be ended while it waits for this process."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def end_with_parent() -> None:
    """Wait for the end of standard input, a pipe that the parent never writes to."""
    os.read(0, 1)
    remove_folders()
    # The group: what ministack has started, and itself.
    os.killpg(0, signal.SIGKILL)


# ministack's ids are random. These are the same in each run, so a frontend's .env stays valid.
cognito._pool_id = lambda: f"{cognito.get_region()}_Local{next(numbers):04}"
cognito._client_id = lambda: f"local{next(numbers):021}"
atexit.register(remove_folders)
threading.Thread(target=end_with_parent, daemon=True).start()
app.main()
