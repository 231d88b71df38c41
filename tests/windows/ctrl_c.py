"""Presses Ctrl-C in a terminal while the command runs, and checks that it ends at once, without the other answers.

    python3 tests/windows/ctrl_c.py COMMAND..     the command `florence2` with the programs that start it, such as wine

The command answers about many images. Ctrl-C is pressed at the first answer. Standard output is a pipe; standard input and
standard error are the terminal.
"""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

SCENE = "assets/demo-model/scenes/scene-1.png"
# A command line of Windows has at most 32,767 characters.
IMAGES = 600
# Seconds to the first answer, and from Ctrl-C to the end.
START, END = 120, 10
# The status of a Windows program that Ctrl-C ended. wine returns its lowest byte.
STATUS_CONTROL_C_EXIT = 0xC000013A


def become_terminal_owner():
    """Makes standard input the controlling terminal of a new session, which wine's console requires."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def start():
    """Starts the command. Returns it with its terminal."""
    terminal, child = pty.openpty()
    arguments = [*sys.argv[1:], "run", *[SCENE] * IMAGES, "--format", "jsonl"]
    program = subprocess.Popen(
        arguments, stdin=child, stdout=subprocess.PIPE, stderr=child, preexec_fn=become_terminal_owner
    )
    os.close(child)
    return program, terminal


def main():
    program, terminal = start()
    answers, shown, pressed = b"", b"", None
    limit = time.monotonic() + START
    while time.monotonic() < limit:
        ready = select.select([program.stdout, terminal], [], [], 1)[0]
        if terminal in ready:
            try:
                shown += os.read(terminal, 1 << 16)
            except OSError:  # The last program closed the terminal. Standard output then ends too.
                pass
        if program.stdout in ready:
            part = os.read(program.stdout.fileno(), 1 << 16)
            if not part:
                break
            answers += part
        if pressed is None and b'"schema"' in answers:
            os.write(terminal, b"\x03")
            pressed = time.monotonic()
            limit = pressed + END
    else:
        os.killpg(program.pid, signal.SIGKILL)
        event = "the first answer" if pressed is None else "the end after Ctrl-C"
        sys.exit(f"ctrl_c: {event}: found none in time; the terminal shows {shown[-2000:]!r}")
    seconds = time.monotonic() - (pressed or limit)
    status, expected, count = program.wait(), STATUS_CONTROL_C_EXIT & 255, answers.count(b'"schema"')
    if pressed is None or status != expected or count >= IMAGES:
        sys.exit(
            f"ctrl_c: found status {status} and {count} answers, expected {expected} and fewer than {IMAGES}; "
            f"the terminal shows {shown[-2000:]!r}"
        )
    print(f"Ctrl-C ended the command in {seconds:.1f} s, after {count} of {IMAGES} answers")


if __name__ == "__main__":
    main()
