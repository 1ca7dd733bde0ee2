"""A plain redis-py worker whose work takes long: it claims its own message again and again.

XCLAIM with JUSTID puts the idle time back to zero and leaves the number of deliveries alone.

python slow_worker.py PORT STREAM GROUP NAME PROLONG_MS
"""

import select
import sys
from typing import Any

import redis

port, stream, group, name, prolong_ms = sys.argv[1:]
client = redis.Redis(port=int(port), protocol=2, decode_responses=True)


def work(entry_id: str, fields: dict[str, str]) -> None:
    """Whoever started this program is told of the message and answers when the work is done."""
    print("got", entry_id, fields["body"], flush=True)
    while not select.select([sys.stdin], [], [], int(prolong_ms) / 1000)[0]:
        client.xclaim(stream, group, name, 0, [entry_id], justid=True)
        print("prolonged", entry_id, flush=True)
    if not sys.stdin.readline():
        sys.exit()


while True:
    reply: Any = client.xreadgroup(group, name, {stream: ">"}, count=1, block=5000)
    for _, entries in reply or []:
        for entry_id, fields in entries:
            work(entry_id, fields)
            print("acknowledged", entry_id, client.xack(stream, group, entry_id), flush=True)
