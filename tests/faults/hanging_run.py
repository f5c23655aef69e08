"""`bci-lfads run RIG` with an engine that hangs after its trial: ``python hanging_run.py RIG``."""

import sys
import threading

from bci_lfads import pipeline
from bci_lfads.cli import main


class Hanging:
    """An engine that serves once."""

    def __init__(self, engine) -> None:
        self._engine, self._calls = engine, 0
        self.info, self.close = engine.info, engine.close

    def infer(self, counts, out):
        self._calls += 1
        if self._calls > 1:
            threading.Event().wait()
        return self._engine.infer(counts, out)


real = pipeline.open_engine
pipeline.open_engine = lambda *args, **options: Hanging(real(*args, **options))
sys.argv[1:1] = ["--quiet", "run"]
main()
