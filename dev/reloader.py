"""Patches of `chalice local`'s reloader: what reloads, and when its worker ends."""

import os
import sys
import threading
import time
from typing import Any

from chalice.cli.filewatch.stat import StatFileWatcher

NOT_WATCHED = ("__pycache__", "build", "node_modules")


def is_worker() -> bool:
    """Whether this is the process that the reloader starts again after a change."""
    return "CHALICE_WORKER" in os.environ


def patch() -> None:
    """Apply the patches to this process."""
    sys.dont_write_bytecode = True
    setattr(StatFileWatcher, _single_pass_poll.__name__, _single_pass_poll)
    if is_worker():
        threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()


def _single_pass_poll(self: Any, root: str, callback: Any) -> None:
    """Reload for a change of the project's own files, not of .venv, .git, caches and builds."""
    changed = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [
            name
            for name in folders
            if name == ".chalice" or (name[0] != "." and name not in NOT_WATCHED)
        ]
        for name in files:
            path = os.path.join(folder, name)
            try:
                changed[path] = os.stat(path).st_mtime
            except OSError:
                continue
    before = getattr(self, "own_files", changed)
    self.own_files = changed
    if changed != before:
        callback()


def end_with_parent(parent: int) -> None:
    """End the reloader's worker when the reloader has ended: it does not forward signals."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(0)
