"""HDF5 files on which the library that reads them is busy for ever."""

from pathlib import Path


def make_endless(path: Path) -> Path:
    """Damage a file that keeps a text of any length, and return its path.

    Such texts stand in a heap, after each other, each behind its length. Of one that is zero bytes
    long the library never gets to the next.
    """
    content = bytearray(path.read_bytes())
    first = content.index(b"GCOL") + 16
    content[first + 8 : first + 72] = bytes(64)
    path.write_bytes(content)
    return path
