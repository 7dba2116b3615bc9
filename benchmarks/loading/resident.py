"""Peak of a process's memory: what is its own, and what the operating system may take back."""

from __future__ import annotations

import threading
import time

_PERIOD_S = 0.005


class ResidentPeaks:
    """Samples this process's resident memory while a block runs (Linux).

    Attributes:
        anonymous: Peak of RssAnon in MiB: heap, stacks, private pages.
        mapped: Peak of RssFile in MiB: pages of mapped files, libraries among them. They are the
            page cache's, and are dropped when somebody else needs the memory.
    """

    def __init__(self) -> None:
        self.anonymous = self.mapped = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ResidentPeaks:
        """Begins."""
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends."""
        self._done.set()
        self._thread.join()
        self._sample()

    def _watch(self) -> None:
        while not self._done.is_set():
            self._sample()
            time.sleep(_PERIOD_S)

    def _sample(self) -> None:
        with open("/proc/self/status") as status:
            fields = dict(line.split(":", 1) for line in status)
        anonymous, mapped = (int(fields[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))
        self.anonymous = max(self.anonymous, anonymous)
        self.mapped = max(self.mapped, mapped)
