"""Ten thousand clients in one process: each sends one command, then waits for its reply.

Run by `test_blocked.py`:  python many_clients.py PORT COUNT < one command per line as hex, in turn
Says `sent` when every command is out, then `<replies> <distinct>` when all have been answered.
"""

from __future__ import annotations

import selectors
import socket
import sys


def main(port: int, count: int, commands: list[bytes]) -> None:
    waiting = selectors.DefaultSelector()
    for i in range(count):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(commands[i % len(commands)])
        waiting.register(client, selectors.EVENT_READ)
    sys.stdout.write("sent\n")
    sys.stdout.flush()
    replies: list[bytes] = []
    while len(replies) < count:
        for key, _ in waiting.select():
            assert isinstance(key.fileobj, socket.socket)
            replies.append(key.fileobj.recv(65536))
            waiting.unregister(key.fileobj)
            key.fileobj.close()
    sys.stdout.write(f"{len(replies)} {len(set(replies))} {replies[0].hex()}\n")


if __name__ == "__main__":
    main(
        int(sys.argv[1]),
        int(sys.argv[2]),
        [bytes.fromhex(line) for line in sys.stdin.read().split()],
    )
