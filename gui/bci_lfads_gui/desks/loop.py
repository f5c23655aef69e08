"""Start and stop of the loop, this window's own or another's."""

from __future__ import annotations

import time

from bci_lfads_gui.controller import Process, interrupt
from bci_lfads_gui.desks.base import Host

_PATIENCE = 10.0  # seconds for the loop to stop


class LoopDesk:
    """Starts the loop of the rig file as a process, and stops the one that runs.

    Parameters
    ----------
    window
        That this stands in.
    """

    def __init__(self, window: Host) -> None:
        self._window = window
        self.process: Process | None = None
        """The loop that this window started, until it has ended."""
        self._stopping_since: float | None = None

    def start(self) -> None:
        """Start the loop of the rig file."""
        window = self._window
        if window.rig_file is None:
            window.tell("choose a rig file first", bad=True)
            return
        if self.runs():
            window.tell(f"rig '{window.store.rig}' runs already", bad=True)
            return
        # Read again: the file may have been edited since.
        if not window.open_rig_file(window.rig_file):
            return
        engine = window.controls.engine
        chosen = ["--engine", engine.currentText()] if engine.currentIndex() else []
        self.process = Process("run", str(window.rig_file), *chosen)
        self._stopping_since = None
        window.tell(f"started the loop as process {self.process.pid}; log: {self.process.log}")

    def stop(self) -> None:
        """Ask, then ask the loop to stop."""
        window = self._window
        pid, why_not = self._pid()
        if not pid:
            window.tell(why_not or "no loop runs", bad=True)
            return
        rig = window.store.rig
        ask = f"Stop the loop of rig '{rig}'? It publishes no factors until it is started again."
        if not window.questions.sure("Stop", ask, "Stop the loop", "Let it run"):
            return
        if self.process is not None and self.process.running and self.process.pid == pid:
            self.process.stop()
        elif not interrupt(pid):
            window.tell(
                f"process {pid} is no loop of this machine; stop it where it runs", bad=True
            )
            return
        self._stopping_since = time.monotonic()
        window.tell("asked the loop to stop")

    def runs(self) -> bool:
        """Return whether the rig's loop runs, here or elsewhere."""
        store = self._window.store
        with store.lock:
            message = store.message
            there = store.status_open and (message is None or message.state != "stopped")
        return there or (self.process is not None and self.process.running)

    def mind(self) -> None:
        """Show what can be done, and say what became of the process."""
        window, controls = self._window, self._window.controls
        pid, why_not = self._pid()
        runs = self.runs()
        controls.start.setEnabled(window.rig_file is not None and not runs)
        controls.stop.setEnabled(bool(pid))
        controls.show_stop(why_not)
        if self.process is not None and not self.process.running:
            code, words = self.process.exit_code, self.process.last_words()
            log, self.process = self.process.log, None
            if code:
                window.tell(f"the loop ended with exit code {code}: {words} – log: {log}", bad=True)
            else:
                window.tell("the loop has stopped")
            self._stopping_since = None
        if self._stopping_since is not None and not runs:
            self._stopping_since = None
        since = self._stopping_since
        if since is not None and time.monotonic() - since > _PATIENCE:
            self._stopping_since = None
            window.tell("the loop was asked to stop 10 s ago and still runs", bad=True)

    def _pid(self) -> tuple[int, str]:
        """Return the loop's process id, or 0 and why it cannot be stopped from here."""
        if self.process is not None and self.process.running:
            return self.process.pid, ""
        store = self._window.store
        with store.lock:
            ended = store.message is not None and store.message.state == "stopped"
            if not store.status_open or store.about is None or ended:
                return 0, ""
            if not store.loop_here:
                return 0, f"the loop runs on {store.loop_host}: stop it there"
            return store.about.pid, ""
