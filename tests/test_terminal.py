"""Log lines stand on lines of their own, whatever bar is drawn beside them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

SCRIPT = """
import logging, sys, time
from tqdm import tqdm
from recbole_ext.terminal import log_to_terminal
log_to_terminal()
log = logging.getLogger("recbole_ext.test")
with tqdm(total=2, desc="running", dynamic_ncols=True) as bar:
    bar.update()
    bar.refresh()
    log.info("what a run says")
    {other}
"""
FROM_A_CHILD = """import subprocess
    child = "import logging; from recbole_ext.terminal import log_to_terminal; log_to_terminal(); "
    subprocess.run([sys.executable, "-c", child + "logging.getLogger('recbole_ext.a').info('what a child says')"])
"""


def on_a_terminal(script: str) -> str:
    """What a terminal shows of a script's standard error, with carriage returns and erasures applied."""
    above, below = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", script], stderr=below)
    os.close(below)
    written = b""
    while True:
        try:
            piece = os.read(above, 4096)
        except OSError:
            break
        if not piece:
            break
        written += piece
    process.wait()
    os.close(above)
    lines = []
    for line in written.decode().split("\n"):
        shown = ""
        for part in line.rstrip("\r").split("\r"):
            _, erased, rest = part.rpartition("\x1b[K")
            shown = rest if erased else part + shown[len(part) :]
        lines.append(shown.rstrip())
    return "\n".join(lines)


def test_a_message_does_not_stick_to_the_bar_of_its_own_process() -> None:
    assert "what a run says" in on_a_terminal(SCRIPT.format(other="")).splitlines()


def test_a_message_of_a_run_s_process_does_not_stick_to_the_command_s_bar() -> None:
    shown = on_a_terminal(SCRIPT.format(other=FROM_A_CHILD)).splitlines()
    assert "what a child says" in shown


def test_where_there_is_no_terminal_lines_are_plain() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(other="")], capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stderr
    assert "what a run says" in done.stderr
