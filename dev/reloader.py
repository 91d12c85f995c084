"""Patches of `chalice local`'s reloader: what reloads, and when its worker ends."""

import os
import threading
import time
from pathlib import Path
from typing import Any

from chalice.cli.filewatch import RESTART_REQUEST_RC
from chalice.cli.filewatch.stat import StatFileWatcher
from chalice.utils import OSUtils

ROOT = Path(__file__).parent.parent
NOT_WATCHED = ("__pycache__", "build", "node_modules")


def is_worker() -> bool:
    """Whether this is the process that the reloader starts again after a change."""
    return "CHALICE_WORKER" in os.environ


def patch() -> None:
    """Apply the patches, if this is the worker: its watcher is running already."""
    if not is_worker():
        return
    # Before the rest of the code is loaded: what changes from now on has to be loaded again.
    loaded = own_files()

    def _single_pass_poll(*_: Any) -> None:
        """Reload for a change of the project's own files only."""
        if own_files() != loaded:
            print("Restarting local dev server.", flush=True)
            # At once: an orderly end stops the emulated AWS under a thread that may still fill it.
            os._exit(RESTART_REQUEST_RC)

    def _is_changed_file(self: Any, path: str, times: dict[str, float]) -> bool:
        """Always False: a poll of Chalice's own, under way, would find app.py's bytecode."""
        times[path] = self._mtime_cache.setdefault(path, 0)
        return False

    for patched in (_single_pass_poll, _is_changed_file):
        setattr(StatFileWatcher, patched.__name__, patched)
    StatFileWatcher.POLL_INTERVAL = 0.3  # type: ignore[assignment]  # an int there
    setattr(OSUtils, mtime.__name__, mtime)
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()


def own_files() -> dict[str, float]:
    """The project's own files with their times, without .venv, .git, caches and builds."""
    times = {}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name == ".chalice" or (name[0] != "." and name not in NOT_WATCHED)
        ]
        for path in (os.path.join(folder, name) for name in files if name[0] != "."):
            times[path] = mtime(None, path)
    return times


def mtime(_: Any, path: str) -> float:
    """When the file was changed. Chalice's own function raises if the file has vanished."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0


def end_with_parent(parent: int) -> None:
    """End the reloader's worker when the reloader has ended: it does not forward signals."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(0)
