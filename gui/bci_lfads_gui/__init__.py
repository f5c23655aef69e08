"""The live window: an LSL consumer like any other, and a controller of processes.

``model`` is what is known, without Qt and without LSL; ``readers`` are threads that fill it from
LSL; ``panels`` draw it, one file each; ``controller`` starts and stops the processes (loop, replay,
recorder); ``window`` puts them together. Nothing in here runs inside the loop's process.
"""
