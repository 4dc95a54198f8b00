"""Knows how to ask a person: the PIN on the controlling terminal, with echo off, and what shall become of objects.

All made up: whether the real tools ask, where, and in which words is not in the public record. The laboratory's ask as
careful programs do, and so that careless callers are found out: what is typed before the question is thrown away.
"""

from __future__ import annotations

import os
import sys
import termios

from lab.luna.tool.world import World

OBJECTS = """
There are objects on the partition. Type 'copy' to keep them and copy them to the other members of the group, 'remove'
to remove them, or 'quit' to leave everything as it is.
> """


def ask_pin(world: World) -> str:
    """Ask for the PIN once, or, if so switched, twice or without a word."""
    sys.stdout.flush()
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:  # no controlling terminal: from standard input then
        sys.stdout.write(world.generation.prompt)
        sys.stdout.flush()
        pin = sys.stdin.readline().rstrip("\r\n")
    else:
        leave_echo = world.fault("leaves-echo")
        prompt = "" if world.fault("no-prompt") else world.generation.prompt
        pin = _hidden(terminal, prompt, stars=world.generation.asks == "stars", leave_echo=leave_echo)
        if world.fault("asks-twice"):
            _heard(world, pin)
            pin = _hidden(terminal, "Please enter the password again: ", stars=False, leave_echo=leave_echo)
        os.close(terminal)
    _heard(world, pin)
    if world.fault("echoes"):
        world.say(f"Using the password {pin}")
    return pin


def _heard(world: World, pin: str) -> None:
    """Note that a PIN was typed, not which; and whether the same was in argv or the environment, where none may be."""
    elsewhere = bool(pin) and any(pin in text for text in (*sys.argv, *os.environ.values()))
    world.note("pin", empty=not pin, elsewhere=elsewhere)


def _hidden(terminal: int, prompt: str, *, stars: bool, leave_echo: bool) -> str:
    """Read a line without echo. Input that came before is flushed after the prompt was written."""
    before = termios.tcgetattr(terminal)
    echo = 0 if leave_echo else termios.ECHO
    quiet = [*before[:3], before[3] & ~echo, *before[4:]]
    if stars:  # character by character
        quiet[0] &= ~termios.ICRNL
        quiet[3] &= ~termios.ICANON
    os.write(terminal, prompt.encode())
    termios.tcsetattr(terminal, termios.TCSAFLUSH, quiet)
    typed = b""
    try:
        while not typed.endswith((b"\r", b"\n")):
            key = os.read(terminal, 1)
            if not key:
                break
            typed += key
            if stars and key not in b"\r\n":
                os.write(terminal, b"*")
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        os.write(terminal, b"\n")
    return typed.rstrip(b"\r\n").decode("utf-8", "replace")


def ask_objects(world: World) -> str:
    """Ask copy, remove or quit on standard input (scripts feed it there: seen); anything else asks again, end quits."""
    while True:
        sys.stdout.write(OBJECTS)
        sys.stdout.flush()
        line = sys.stdin.readline()
        answer = line.strip().lower() if line else "quit"
        if answer in {"copy", "remove", "quit"}:
            world.note("objects", answer=answer)
            return answer
