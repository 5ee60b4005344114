"""One process at a time has a claim, and it ends with that process."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from recbole_ext.claims import claim
from recbole_ext.errors import ConfigurationError

HOLD = """
import sys
from pathlib import Path
from recbole_ext.claims import claim
with claim(Path(sys.argv[1]), wait=False) as ours:
    print(ours, flush=True)
    sys.stdin.read()
"""


def holding(lock: Path) -> subprocess.Popen[str]:
    """A process that has the claim until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "True\n"
    return process


def test_a_claim_is_refused_while_another_process_has_it_and_free_after_it(tmp_path: Path) -> None:
    lock = tmp_path / "runs" / ".x.lock"
    process = holding(lock)
    with claim(lock, wait=False) as ours:
        assert not ours
    process.communicate("")
    with claim(lock, wait=False) as ours:
        assert ours


def test_a_killed_process_keeps_no_claim(tmp_path: Path) -> None:
    lock = tmp_path / ".x.lock"
    process = holding(lock)
    process.kill()
    process.communicate()
    assert lock.exists()
    with claim(lock, wait=False) as ours:
        assert ours
    assert list(tmp_path.iterdir()) == []


FORK = """
import os, sys, time
from pathlib import Path
from recbole_ext.claims import claim
with claim(Path(sys.argv[1]), wait=False) as ours:
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_child_that_outlives_its_process_keeps_no_claim(tmp_path: Path) -> None:
    lock = tmp_path / ".x.lock"
    process = subprocess.Popen([sys.executable, "-c", FORK, str(lock)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.wait(10)
    began = time.monotonic()
    try:
        with claim(lock, wait=True) as ours:  # the child has 60 seconds to live, and lets go as soon as it is on
            assert ours and time.monotonic() - began < 30
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_child_does_not_end_the_claim_of_its_process(tmp_path: Path) -> None:
    lock = tmp_path / ".x.lock"
    with claim(lock, wait=False):
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with claim(lock, wait=False) as again:
            assert not again


def test_who_waits_gets_the_claim_when_the_other_is_done(tmp_path: Path) -> None:
    lock = tmp_path / ".x.lock"
    process = holding(lock)
    got: list[bool] = []

    def wait() -> None:
        with claim(lock, wait=True) as ours:
            got.append(ours)

    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive() and got == []
    process.communicate("")
    waiting.join(10)
    assert got == [True]


def test_of_many_that_wait_each_has_it_alone(tmp_path: Path) -> None:
    lock = tmp_path / ".x.lock"
    inside: list[int] = []
    most = []

    def work() -> None:
        for _ in range(20):
            with claim(lock, wait=True):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(most) == 80 and set(most) == {1}


def test_a_claim_leaves_nothing(tmp_path: Path) -> None:
    with claim(tmp_path / ".x.lock", wait=True):
        assert (tmp_path / ".x.lock").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(file: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(ConfigurationError, match=f"^{tmp_path}: its file system has no locks .*-o flock") as caught,
        claim(tmp_path / ".x.lock", wait=True),
    ):
        raise AssertionError("nobody has the claim")
    assert isinstance(caught.value, OSError), "who can do without a claim passes over it as over a read-only folder"
    assert list(tmp_path.iterdir()) == []


def test_another_failure_of_a_lock_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: int, how: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error") as caught, claim(tmp_path / ".x.lock", wait=False):
        raise AssertionError("nobody has the claim")
    assert not isinstance(caught.value, ConfigurationError)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664)])
def test_a_claims_file_is_open_to_whom_the_umask_opens_files(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with claim(tmp_path / ".x.lock", wait=False):
            assert (tmp_path / ".x.lock").stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)
