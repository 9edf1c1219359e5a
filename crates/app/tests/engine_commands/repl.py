"""Holds a conversation with a program on a pseudo-terminal: what a person sees and types.

argv: the program and its arguments. stdin: one step a line, as JSON ["wait for this text", "then
type this"]. "\0kill" is not typed: it kills the program's engine and waits until the program has
noticed. Prints all that appeared, and ends with the program's own exit status.
"""
import glob
import json
import os
import pathlib
import pty
import select
import signal
import sys
import time

steps = [json.loads(line) for line in sys.stdin]
# Whoever starts the tests in the background may have set signals aside, and that is inherited.
for each in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(each, signal.SIG_DFL)
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])

seen = b""


def read_more(limit):
    """Appends what the program wrote; False at its end or if it says nothing for so long."""
    global seen
    if not select.select([terminal], [], [], limit)[0]:
        return False
    try:
        data = os.read(terminal, 65536)
    except OSError:  # how Linux reports that the other side is closed
        data = b""
    seen += data
    return bool(data)


def wait_for(wanted, start):
    """The place after the first `wanted` from `start`; None if it does not come."""
    end = time.monotonic() + 60
    while (at := seen.find(wanted, start)) < 0:
        if not read_more(max(0, end - time.monotonic())):
            return None
    return at + len(wanted)


def keepers():
    """The program's threads that keep an engine; each ends when its engine's end is known."""
    tasks = map(pathlib.Path, glob.glob(f"/proc/{pid}/task/*"))
    return [task for task in tasks if (task / "comm").read_text() == "cell-keeper\n"]


def kill_engine():
    [keeper] = keepers()
    os.kill(int((keeper / "children").read_text()), signal.SIGKILL)
    while keeper.exists():
        os.sched_yield()


at = 0
for wanted, typed in steps:
    at = wait_for(wanted.encode(), at)
    if at is None:
        break
    if typed == "\0kill":
        kill_engine()
    else:
        os.write(terminal, typed.encode())
if at is not None:
    while read_more(60):
        pass
# Gone by itself, or not to be waited for.
os.kill(pid, signal.SIGKILL)
ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.buffer.write(seen)
if at is None:
    sys.exit(f"{wanted!r} did not appear in {seen.decode(errors='replace')!r}")
sys.exit(ended)
