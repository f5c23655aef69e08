"""The replay's bar: a recording played under the names of the rig's streams."""

from __future__ import annotations

from pathlib import Path

from bci_lfads_gui.controller import Player
from bci_lfads_gui.desks.base import Host, short


class ReplayDesk:
    """Plays a recording in a process, and gives it orders.

    Parameters
    ----------
    window
        That this stands in.
    """

    def __init__(self, window: Host) -> None:
        self._window = window
        self.recording: Path | None = None
        self.player: Player | None = None

    def choose(self) -> None:
        """Ask what to replay."""
        path = self._window.questions.file(
            "Recording", "Recordings (*.npz *.h5 *.hdf5 *.xdf *.nwb *.mat)"
        )
        if path is not None:
            self.open(path)

    def open(self, path: Path) -> None:
        """Choose what to replay."""
        self.recording = path.expanduser().resolve()
        self._window.settings.setValue("recording", str(self.recording))
        name = self._window.controls.recording_name
        name.setText(short(path.name))
        name.setToolTip(str(self.recording))

    def play(self) -> None:
        """Start the replay, or pause it, or go on."""
        if self.player is not None and self.player.running:
            self.player.order("resume" if self.player.progress.get("paused") else "pause")
            return
        self._start(paused=False)

    def step(self, order: str) -> None:
        """Replay a part, then pause; a replay that was not begun begins with it."""
        running = self.player is not None and self.player.running
        if not running and not self._start(paused=True):
            return
        if self.player is not None:
            self.player.order(order)

    def stop(self) -> None:
        """End the replay."""
        if self.player is not None:
            self.player.stop()

    def seek(self, share: float) -> None:
        """Go elsewhere in the recording, to this share of it."""
        if self.player is not None and (duration := self.player.progress.get("duration")):
            self.player.order(f"seek {share * float(duration):.6f}")

    def close(self) -> None:
        """End the process, if there is one."""
        if self.player is not None:
            self.player.end()
            self.player = None

    def mind(self) -> None:
        """Show where it is, and say what became of it."""
        window, controls, player = self._window, self._window.controls, self.player
        if player is not None and not player.running:
            code, words = player.exit_code, player.last_words()
            self.close()
            if code:
                window.tell(f"the replay ended with exit code {code}: {words}", bad=True)
            else:
                window.tell("the replay has ended")
            player = None
        plays = player is not None
        paused = bool(player.progress.get("paused")) if player else False
        controls.play.setText("▶ Replay" if not plays else "▶ Go on" if paused else "❚❚ Pause")
        for button in (controls.play, controls.step, controls.to_marker):
            button.setEnabled(self.recording is not None)
        for widget in (controls.end, controls.place):
            widget.setEnabled(plays)
        for widget in (controls.speed, controls.loop, controls.open_recording):
            widget.setEnabled(not plays)
        progress = player.progress if player else {}
        controls.show_place(progress.get("position"), progress.get("duration"))

    def _start(self, *, paused: bool) -> bool:
        window, controls = self._window, self._window.controls
        if self.recording is None:
            window.tell("choose a recording first", bad=True)
            return False
        self.close()
        about = window.store.about
        speed = controls.speed.currentText().lstrip("×")
        arguments = ["replay", str(self.recording), "--control", "--speed", speed]
        if speed == "max":
            if not window.store.rig:
                window.tell("at max speed a replay follows a rig: open or attach to one", bad=True)
                return False
            arguments += ["--follow", window.store.rig]
        if about is not None:
            spikes, markers = about.rig.input.spikes, about.rig.input.markers
            arguments += ["--spikes", spikes.name or "ReplaySpikes"]
            arguments += ["--markers", (markers.name or "ReplayMarkers") if markers else ""]
            if spikes.format != "auto":
                arguments += ["--format", spikes.format]
            if spikes.format == "counts":
                arguments += ["--bin-width", repr(about.bin_width)]
        if controls.loop.isChecked():
            arguments.append("--loop")
        if paused:
            arguments.append("--paused")
        self.player = Player(*arguments)
        window.tell(f"replaying {self.recording.name} at {controls.speed.currentText()}")
        return True
