"""The letters of ``notify-keyspace-events``: what is told, and on which channels.

``K`` are the channels of keys (``__keyspace@<db>__:<key>``, message: the event), ``E`` those of
events (``__keyevent@<db>__:<event>``, message: the key); the others are classes of events.
"""

from __future__ import annotations

from typing import Final

# The classes in the order in which CONFIG GET prints them; ``A`` stands for all but the last three
# and ``m``.
ALL: Final = "g$lshzxetd"
CLASSES: Final = ALL + "n"
CLASSES_8_2: Final = "oc"
LAST: Final = "KEm"


def read_classes(text: str) -> str:
    """The letters of the setting, each once, in the order of CONFIG GET. Raises ValueError."""
    chosen: set[str] = set()
    known = CLASSES + CLASSES_8_2 + LAST
    for letter in text:
        if letter == "A":
            chosen.update(ALL)
        elif letter in known:
            chosen.add(letter)
        else:
            raise ValueError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    return "".join(letter for letter in CLASSES + CLASSES_8_2 + LAST if letter in chosen)


def show_classes(chosen: str) -> str:
    """The setting as Redis prints it: ``A`` hides the classes that are not of it."""
    if not set(ALL) <= set(chosen):
        return chosen
    return "A" + "".join(letter for letter in LAST if letter in chosen)
