"""Which words of a command are secret, and how it is shown without them.

Rules: what MONITOR and the slow log show of AUTH, HELLO with AUTH, ACL SETUSER and CONFIG SET of a
secret setting is that they were called. Names and places of the words are Redis'.
"""

from __future__ import annotations

from respserver.settings import SETTINGS

REDACTED = b"(redacted)"


def redacted(words: list[bytes]) -> list[bytes]:
    """The words of a command, those that are secret replaced."""
    shown = list(words)
    verb = words[0].lower()
    sub = words[1].lower() if len(words) > 1 else b""
    if verb == b"auth":
        shown[1:] = [REDACTED] * (len(words) - 1)
    elif verb == b"acl" and sub == b"setuser":
        shown[2:] = [REDACTED] * (len(words) - 2)
    elif verb == b"hello":
        for at, word in enumerate(words):
            if word.lower() == b"auth":
                shown[at + 1 : at + 3] = [REDACTED] * len(words[at + 1 : at + 3])
                break
    elif verb == b"config" and sub == b"set":
        for at in range(2, len(words) - 1, 2):
            known = SETTINGS.get(words[at].decode(errors="replace").lower())
            if known is not None and known.kind.secret:
                shown[at + 1] = REDACTED
    return shown
