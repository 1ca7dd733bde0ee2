"""Two socket.io servers share their events through a stream; one is killed, and its client finds at
the other what it has missed.
"""

from __future__ import annotations

from tests.applications.stage import Stage, node
from tests.applications.verbs import Recording, golden
from tests.servers import Server

VERBS = """
    HELLO, CLIENT SETINFO, SUBSCRIBE, PUBLISH, PUBSUB NUMSUB, XADD MAXLEN ~ *, XREAD COUNT BLOCK $,
    XREAD COUNT BLOCK, SET PX, MULTI, GET, DEL, EXEC, XRANGE
"""


def test_a_client_of_a_killed_server_misses_nothing(server: Server, stage: Stage) -> None:
    with server.connect() as client, Recording(server, client) as recording:
        servers, ports, clients = [], [], []
        for name in ("one", "two"):
            servers.append(stage.start(name, *node("socketio_server.mjs"), str(server.port)))
            said = stage.next_line().text
            assert said is not None
            ports.append(said.removeprefix("listening "))
            clients.append(stage.start(f"client-{name}", *node("socketio_client.mjs"), ports[-1]))
            stage.hear((clients[-1], "connected"))
        (one, two), (mine, other) = servers, clients
        one.tell("sockets")
        stage.hear((one, "sockets 2"))
        one.tell("ask who")
        stage.hear((one, "answers heard who"))
        one.tell("emit first")
        stage.hear((mine, "news first"), (other, "news first"))
        mine.tell("drop")
        while "SET PX" not in recording.verbs:
            recording.next_command()
        one.kill()
        while client.call("PUBSUB", "NUMSUB", "socket.io#/#") != [b"socket.io#/#", 1]:
            pass
        for word in ("second", "third"):
            two.tell(f"emit {word}")
            stage.hear((other, f"news {word}"))
        mine.tell(f"connect {ports[1]}")
        stage.hear((mine, "recovered"), (mine, "news second"), (mine, "news third"))
        two.tell("emit fourth")
        stage.hear((mine, "news fourth"), (other, "news fourth"))
        two.tell("sockets")
        stage.hear((two, "sockets 2"))
        recording.finish()
    assert recording.verbs == golden(VERBS)
    assert recording.errors == {"ERR"}  # CLIENT MAINT_NOTIFICATIONS
