"""Plays a person at a terminal: runs a program on a pseudo-terminal of 80 columns, waits for each
text and types the answer. What stands on the command line, as JSON: `argv`, `env` (added to an
empty environment), `steps` (pairs of a text to wait for and what is then typed), `enter` (what the
terminal sends for the key Enter), `close` (whether the line breaks after the last step).

In a step `<Enter>` stands for that key, `<Ctrl-C>` and `<Backspace>` for theirs, `<D6>` for a byte.
Prints as JSON what the screen got, the exit code (negative: the signal), and whether the echo was
on at the end.
"""

import fcntl
import json
import os
import pty
import re
import select
import struct
import sys
import termios
import time

PATIENCE_S = 60
KEYS = {"Ctrl-C": b"\x03", "Ctrl-D": b"\x04", "Backspace": b"\x7f"}


def keys(text, enter):
    out = b""
    for part in re.split(r"(<[A-Za-z0-9-]+>)", text):
        name = part[1:-1]
        if part == "<Enter>":
            out += enter
        elif part.startswith("<") and name in KEYS:
            out += KEYS[name]
        elif re.fullmatch(r"<[0-9A-F]{2}>", part):
            out += bytes([int(name, 16)])
        else:
            out += part.encode()
    return out


def main():
    play = json.loads(sys.argv[1])
    enter = play.get("enter", "\r").encode()
    child, line = pty.fork()
    if child == 0:
        os.execvpe(play["argv"][0], play["argv"], play["env"])
    fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    screen, seen = b"", 0

    def read(until):
        nonlocal screen
        wait = until - time.monotonic()
        if wait <= 0 or not select.select([line], [], [], wait)[0]:
            raise TimeoutError
        try:
            got = os.read(line, 65536)
        except OSError:
            got = b""
        screen += got
        return bool(got)

    def find(wanted, start, until):
        while (at := screen.find(wanted, start)) < 0:
            if not read(until):
                raise TimeoutError
        return at

    missing = None
    for text, typed in play["steps"]:
        until = time.monotonic() + PATIENCE_S
        try:
            at = find(text.encode(), seen, until)
            seen = at + len(text.encode())
            # A person types when it is his turn.
            if typed:
                seen = find(b"> ", seen, until) + 2
        except TimeoutError:
            missing = text
            break
        data = keys(typed, enter)
        while data:
            data = data[os.write(line, data[:2048]) :]
    echo = None
    if play.get("close"):
        os.close(line)
    else:
        try:
            while read(time.monotonic() + (2 if missing else PATIENCE_S)):
                pass
        except TimeoutError:
            os.kill(child, 9)
            missing = missing or "the end"
        try:
            echo = bool(termios.tcgetattr(line)[3] & termios.ECHO)
        except termios.error:
            echo = None
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = screen.decode("utf-8", "backslashreplace")
    print(json.dumps({"screen": text, "code": code, "missing": missing, "echo": echo}))


main()
