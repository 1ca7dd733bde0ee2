"""A plain redis-py producer: adds numbered messages to a stream.

python producer.py PORT STREAM FIRST COUNT
"""

import sys

import redis

port, stream, first, count = sys.argv[1:]
client = redis.Redis(port=int(port), protocol=2, decode_responses=True)
for number in range(int(first), int(first) + int(count)):
    body = f"message-{number}"
    print("added", client.xadd(stream, {"body": body}), body, flush=True)
