"""A disk that is soon full: a tmpfs, mounted as root, or without root in a namespace of its own and seen through /proc."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_MOUNT = 'mount -t tmpfs -o size={size}m,mode=755 none "{folder}"'


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """To the last page."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (1 << 20, 1 << 12):
                try:
                    while filler.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def empty(self) -> None:
        self._filler.unlink()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Skips the test where no file system can be mounted."""
    folder.mkdir()
    mount = _MOUNT.format(size=megabytes, folder=folder)
    if os.geteuid() == 0:
        with _mounted(mount, folder):
            yield SmallDisk(folder)
    else:
        with _holding(mount) as holder:
            # Whoever began a namespace may look into it.
            yield SmallDisk(Path(f"/proc/{holder}/root{folder}"))


@contextmanager
def _mounted(mount: str, folder: Path) -> Iterator[None]:
    if subprocess.run(["sh", "-c", mount], check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def _holding(mount: str) -> Iterator[int]:
    holder = subprocess.Popen(
        ["unshare", "-Urm", "sh", "-c", f"{mount} && echo mounted && exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert holder.stdout is not None
    try:
        if holder.stdout.readline().strip() != "mounted":
            pytest.skip("no file system can be mounted here")
        yield holder.pid
    finally:
        holder.communicate()
