"""Patches of `chalice local`'s reloader: what reloads, and when its worker ends."""

import os
import re
import threading
import time
from glob import glob
from pathlib import Path
from typing import Any

from chalice.cli.filewatch import RESTART_REQUEST_RC
from chalice.cli.filewatch.stat import StatFileWatcher
from chalice.utils import OSUtils

ROOT = Path(__file__).parent.parent
# What the app loads: glob finds no dotfiles.
LOADED = ("app.py", "chalicelib/**", "dev/*.py", ".chalice/*.json", "resources.yaml")
# What editors and Python leave in chalicelib/.
LEFT_BEHIND = re.compile(r"__pycache__/|/4913$|/#|~$|\.(pyc|orig|rej|bak|tmp)$")


def is_worker() -> bool:
    """Whether this is the process that the reloader starts again after a change."""
    return "CHALICE_WORKER" in os.environ


def patch() -> None:
    """Apply the patches, if this is the worker: its watcher is running already."""
    if not is_worker():
        return
    # Before the rest of the code is loaded: what changes from now on has to be loaded again.
    loaded = loaded_files()

    def _single_pass_poll(*_: Any) -> None:
        """Reload for a change of what the app loads, and for nothing else."""
        changed = sorted({name for name, _ in loaded.items() ^ loaded_files().items()})
        if changed:
            print(f"Restarting local dev server: {', '.join(changed)} changed.", flush=True)
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


def loaded_files() -> dict[str, float]:
    """The files that the app loads, relative to the project, with their times."""
    paths = {
        name: ROOT / name
        for pattern in LOADED
        for name in glob(pattern, root_dir=ROOT, recursive=True)
        if not LEFT_BEHIND.search(name)
    }
    return {name: mtime(None, path) for name, path in paths.items() if path.is_file()}


def mtime(_: Any, path: str | Path) -> float:
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
