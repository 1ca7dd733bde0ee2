"""``python -m tests.streams.record_payloads``: asks both redis-servers for payloads.json anew.

Each stream of STREAMS is made by its commands; what is kept are the payload of DUMP and what XRANGE
and XINFO say, as bytes in base64. Nothing of it depends on the time.
"""

from __future__ import annotations

import base64
import json
import pathlib
import tempfile

from tests import servers

FILE = pathlib.Path(__file__).parent / "payloads.json"
KNOWN = (("XRANGE", "s", "-", "+"), ("XINFO", "STREAM", "s"), ("XINFO", "GROUPS", "s"))

INTEGERS = (
    *("0", "127", "128", "-1", "4095", "-4096", "4096", "32767", "32768", "-32769", "8388607"),
    *("8388608", "2147483647", "2147483648", "-2147483649", "9223372036854775807"),
    *("-9223372036854775808", "9223372036854775808", "007", "-0", "+1", "1.5"),
)
STREAMS: dict[str, list[str]] = {
    "one entry": ["XADD s 1-1 f v"],
    "several nodes": [f"XADD s {i}-{i % 3} temp {i}.5 hum {i * 7}" for i in range(1, 131)],
    "fields that change": [
        "XADD s 1-0 a 1 b 2",
        "XADD s 1-1 a 3 b 4",
        "XADD s 1-2 b 3 a 4",
        "XADD s 1-3 a 3",
        "XADD s 1-4 a 3 b 4 c 5",
        "XADD s 2-0 a 3 b 4",
    ],
    "integers of all sizes": [f"XADD s {i}-0 f {text}" for i, text in enumerate(INTEGERS, 1)],
    "large IDs": [
        "XADD s 18446744073709551614-18446744073709551615 f v",
        "XADD s 18446744073709551615-3 f v",
    ],
    "deleted within": [*[f"XADD s {i}-0 f v" for i in range(1, 12)], "XDEL s 3-0 4-0 11-0"],
    "the last node emptied": [
        "CONFIG SET stream-node-max-entries 3",
        *[f"XADD s {i}-0 f v" for i in range(1, 9)],
        "XDEL s 7-0 8-0",
        "XADD s 9-0 f v",
        "XDEL s 9-0",
        "CONFIG SET stream-node-max-entries 100",
    ],
    "emptied": ["XADD s 5-5 f v", "XDEL s 5-5"],
    "counters": ["XADD s 1-0 f v", "XSETID s 9-9 ENTRIESADDED 70 MAXDELETEDID 8-0"],
    "groups": [
        *[f"XADD s {i}-0 f v" for i in range(1, 9)],
        "XGROUP CREATE s none $",
        "XGROUP CREATE s unknown 3-0",
        "XGROUP CREATE s known 3-0 ENTRIESREAD 3",
    ],
}


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main() -> None:
    found = []
    for version in (8, 7):
        with (
            tempfile.TemporaryDirectory() as folder,
            servers.redis(pathlib.Path(folder) / "redis", version) as server,
            server.connect() as client,
        ):
            for name, commands in STREAMS.items():
                client.call("FLUSHALL")
                for command in commands:
                    assert not hasattr(client.call(*command.split()), "kind"), command
                found.append(
                    {
                        "stream": name,
                        "version": version,
                        "payload": text(client.call("DUMP", "s")),
                        "known": [text(client.raw(*words)) for words in KNOWN],
                    }
                )
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
