"""Proof that a recorded session's factors are those of its spikes; docs/verification.md.

`session` takes a recorded file apart into what came in and went out; `align` finds in it the
samples that the loop's journal counts, and `inputs` decodes them; `rerun` puts them through the
same windows again; `verify` compares the outcome with what was published (`lookup`) and says why
whatever differs does, in a `report`.
"""

from bci_lfads.verification.report import Verification
from bci_lfads.verification.session import RecordedRun, load_runs
from bci_lfads.verification.verify import verify

__all__ = ["RecordedRun", "Verification", "load_runs", "verify"]
