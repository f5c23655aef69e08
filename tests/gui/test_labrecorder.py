"""Orders to LabRecorder, against a server on loopback that takes them as LabRecorder does."""

import socketserver
import threading
import time

import pytest

from bci_lfads_gui.labrecorder import LabRecorder, filename_order


class Fake(socketserver.ThreadingTCPServer):
    """Reads one line of what has arrived and answers; lines that came with it are lost."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, answer=b"OK"):
        self.lines, self.answer = [], answer
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self):
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(4096):
            line, _, _ = data.partition(b"\n")
            self.server.lines.append(line.decode())
            self.request.sendall(self.server.answer)


@pytest.fixture
def serve():
    servers = []

    def start(answer=b"OK"):
        server = Fake(answer)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append((server, thread))
        return server

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def wait(condition, seconds=10.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def test_each_order_waits_for_the_answer_to_the_one_before(serve):
    server = serve()
    lab = LabRecorder(server.address)
    lab.start("D:\\data\\monkey\\s1.xdf")
    wait(lambda: lab.recording)
    assert server.lines == [
        "update", "select all", "filename {root:D:\\data\\monkey}{template:s1.xdf}", "start",
    ]  # fmt: skip
    wait(lambda: not lab.busy)
    lab.stop()
    wait(lambda: not lab.recording)
    assert server.lines[-1] == "stop"
    assert lab.failure == ""
    lab.close()


def test_another_answer_is_a_failure(serve):
    lab = LabRecorder(serve(b"ERROR no streams").address)
    lab.start()
    wait(lambda: not lab.busy)
    assert not lab.recording
    assert "'update' with 'ERROR no streams'" in lab.failure


def test_where_no_one_listens_it_says_so(serve):
    lab = LabRecorder("127.0.0.1:1")
    lab.start()
    wait(lambda: not lab.busy)
    assert not lab.recording
    assert "127.0.0.1:1" in lab.failure


@pytest.mark.parametrize(
    ("file", "order"),
    [
        ("s1.xdf", "filename {template:s1.xdf}"),
        ("/data/s1.xdf", "filename {root:/data}{template:s1.xdf}"),
        ("/s1.xdf", "filename {root:/}{template:s1.xdf}"),
    ],
)
def test_files_are_named_as_labrecorder_reads_them(file, order):
    assert filename_order(file) == order


def test_names_and_addresses_that_cannot_be_sent_are_refused():
    with pytest.raises(ValueError, match="braces"):
        filename_order("a{b}.xdf")
    for address in ("", "a b", "host:0", "host:99999", "host:x"):
        with pytest.raises(ValueError, match="address"):
            LabRecorder(address)


@pytest.mark.gui
@pytest.mark.lsl
def test_the_window_has_labrecorder_record(qtbot, window, serve):
    from qtpy.QtCore import Qt

    server, shown = serve(), window()
    controls = shown.controls
    answers = iter([server.address, "run1.xdf"])
    shown.questions.text = lambda *_: next(answers)
    controls.recorder.setCurrentIndex(1)
    controls.recorder.activated.emit(1)
    qtbot.mouseClick(controls.record, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: controls.record.text().startswith("■"), timeout=90_000)
    assert "filename {template:run1.xdf}" in server.lines
    qtbot.mouseClick(controls.record, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: controls.record.text().startswith("●"), timeout=90_000)
    assert server.lines[-1] == "stop"
    # One that is not there is told, and nothing is recorded.
    answers = iter(["127.0.0.1:1", ""])
    controls.recorder.activated.emit(1)
    qtbot.mouseClick(controls.record, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "127.0.0.1:1" in shown.statusBar().currentMessage(), timeout=90_000)
    controls.recorder.setCurrentIndex(0)
    controls.recorder.activated.emit(0)
    assert shown.record.lab is None
