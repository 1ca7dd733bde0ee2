"""A plain redis-py worker: XREADGROUP, work, XACK, in a loop. It knows nothing of respq.

python worker.py PORT STREAM GROUP NAME COUNT
"""

import sys
from typing import Any

import redis

port, stream, group, name, count = sys.argv[1:]
client = redis.Redis(port=int(port), protocol=2, decode_responses=True)


def work(entry_id: str, fields: dict[str, str]) -> None:
    """Whoever started this program is told of the message and answers when the work is done."""
    print("got", entry_id, fields["body"], flush=True)
    if not sys.stdin.readline():
        sys.exit()


while True:
    reply: Any = client.xreadgroup(group, name, {stream: ">"}, count=int(count), block=5000)
    for _, entries in reply or []:
        for entry_id, fields in entries:
            work(entry_id, fields)
            print("acknowledged", entry_id, client.xack(stream, group, entry_id), flush=True)
