"""Connection and CLIENT commands: refusals as redis-server words them, and what changes."""

from __future__ import annotations

import pytest

from respserver.spec import TABLE
from respserver.version import DEFAULT_VERSION
from tests.respserver.fakes import NOW_MS, Node, Session, Waiting
from tests.servers import REDIS_8_VERSION, Server

OK = b"+OK\r\n"
SAME_ANSWER = (
    "ECHO hello",
    "AUTH x",
    "AUTH default x",
    "AUTH nobody x",
    "AUTH a b c",
    "HELLO 4",
    "HELLO 1",
    "HELLO -1",
    "HELLO x",
    "HELLO 99999999999999999999",
    "HELLO 2 FOO",
    "HELLO 2 AUTH",
    "HELLO 2 AUTH default",
    "HELLO 2 AUTH nobody x",
    "HELLO 2 SETNAME",
    "HELLO 2 SETNAME a AUTH b",
    "HELLO 2 SETNAME caf\xe9",
    "SELECT x",
    "SELECT 1.0",
    "SELECT 16",
    "SELECT -1",
    "SELECT 99999999999",
    "SELECT 99999999999999999999",
    "RESET",
    "CLIENT SETNAME caf\xe9",
    "CLIENT SETNAME a\x7f",
    "CLIENT SETINFO FOO x",
    "CLIENT SETINFO lib-name a\x01b",
    "CLIENT SETINFO LIB-VER \x80",
    "CLIENT SETINFO LIB-VER 1.0",
    "CLIENT NO-EVICT FOO",
    "CLIENT NO-EVICT on",
    "CLIENT NO-TOUCH FOO",
    "CLIENT NO-TOUCH off",
    "CLIENT LIST TYPE foo",
    "CLIENT LIST TYPE",
    "CLIENT LIST TYPE pubsub",
    "CLIENT LIST TYPE SLAVE",
    "CLIENT LIST TYPE normal ID 1",
    "CLIENT LIST ID",
    "CLIENT LIST ID x",
    "CLIENT LIST ID 99999999",
    "CLIENT LIST ID 99999999 x",
    "CLIENT LIST FOO",
    "CLIENT KILL 1.2.3.4:5",
    "CLIENT KILL ID",
    "CLIENT KILL ID x",
    "CLIENT KILL ID 0",
    "CLIENT KILL ID 99999999",
    "CLIENT KILL ID 1 TYPE",
    "CLIENT KILL TYPE foo",
    "CLIENT KILL TYPE pubsub",
    "CLIENT KILL TYPE master LADDR 1.2.3.4:5",
    "CLIENT KILL USER nobody",
    "CLIENT KILL USER default ADDR 1.2.3.4:5",
    "CLIENT KILL SKIPME maybe",
    "CLIENT KILL SKIPME no ID 99999999",
    "CLIENT KILL MAXAGE x",
    "CLIENT KILL MAXAGE 0",
    "CLIENT KILL MAXAGE -1",
    "CLIENT KILL MAXAGE 100000000",
    "CLIENT KILL FOO bar",
    "CLIENT UNBLOCK x",
    "CLIENT UNBLOCK 99999999",
    "CLIENT UNBLOCK 99999999 TIMEOUT",
    "CLIENT UNBLOCK 99999999 FOO",
    "CLIENT UNBLOCK x FOO",
    "CLIENT UNBLOCK 99999999 TIMEOUT x",
)


@pytest.mark.parametrize("line", SAME_ANSWER)
def test_the_same_answer_as_redis(line: str, oracle: Server) -> None:
    words = [word.encode("latin-1") for word in line.split(" ")]
    with oracle.connect() as client:
        assert Node(redis_version=REDIS_8_VERSION).run(*words) == client.raw(*words)


def test_hello_tells_and_switches() -> None:
    node = Node()
    flat = node.run("HELLO")
    assert flat.startswith(b"*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n")
    assert node.run("HELLO", "3", "SETNAME", "me") == (
        b"%%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$%d\r\n%b\r\n$5\r\nproto\r\n"
        b":3\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
        b"$7\r\nmodules\r\n*0\r\n" % (len(DEFAULT_VERSION), DEFAULT_VERSION.encode())
    )
    assert (node.client.proto, node.client.name) == (3, b"me")
    node.run("HELLO")
    assert node.client.proto == 3


def test_a_refused_hello_changes_nothing() -> None:
    node = Node(requirepass="secret")
    for words in (
        ["HELLO", "3", "AUTH", "default", "wrong", "SETNAME", "me"],
        ["HELLO", "3", "AUTH", "nobody", "secret", "SETNAME", "me"],
        ["HELLO", "3", "SETNAME", "me"],
        ["HELLO", "3", "SETNAME", "bad name", "AUTH", "default", "secret"],
        ["HELLO", "3", "AUTH", "default", "secret", "FOO"],
    ):
        assert node.run(*words)[:1] == b"-"
        assert not node.client.authenticated
        assert (node.client.proto, node.client.name) == (2, b"")
    assert node.server.stats.acl_access_denied_auth == 2


def test_passwords() -> None:
    node = Node(requirepass="secret")
    assert node.run("GET", "k") == b"-NOAUTH Authentication required.\r\n"
    assert node.run("HELLO", "3").startswith(b"-NOAUTH HELLO must be called with the client")
    wrong = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    assert node.run("AUTH", "wrong") == wrong
    assert node.run("AUTH", b"\xff\x00") == wrong
    assert node.run("AUTH", "") == wrong
    assert node.run("AUTH", "nobody", "secret") == wrong
    assert node.run("AUTH", "secret") == OK
    assert node.run("GET", "k") == b"$-1\r\n"
    assert node.run("RESET") == b"+RESET\r\n"
    assert node.run("GET", "k") == b"-NOAUTH Authentication required.\r\n"
    assert node.run("HELLO", "2", "AUTH", "default", "secret").startswith(b"*14\r\n")
    assert node.run("AUTH", "default", "secret") == OK


def test_noauth_of_hello_is_worded_as_redis_words_it(oracle: Server) -> None:
    with oracle.connect() as admin:
        assert admin.raw("CONFIG", "SET", "requirepass", "secret") == OK
        try:
            with oracle.connect() as client:
                assert Node(requirepass="secret").run("HELLO", "3") == client.raw("HELLO", "3")
        finally:
            admin.raw("CONFIG", "SET", "requirepass", "")


def test_reset_gives_a_fresh_connection_back() -> None:
    node = Node()
    for line in ("SELECT 3", "CLIENT SETNAME me", "CLIENT NO-EVICT on", "CLIENT NO-TOUCH on"):
        assert node.run(*line.split()) == OK
    node.run("CLIENT", "SETINFO", "LIB-NAME", "lib")
    node.client.proto = 3
    assert node.run("RESET") == b"+RESET\r\n"
    fresh = Node().client
    fresh.lib_name = b"lib"  # it is still that library
    fresh.last_command = node.server.table[b"reset"]
    fresh.total_commands = node.client.total_commands
    assert node.client == fresh


def test_select_chooses_the_database() -> None:
    node = Node()
    node.run("SET", "k", "0")
    assert node.run("SELECT", "5") == OK
    assert node.run("EXISTS", "k") == b":0\r\n"
    assert node.client.db == 5


def test_quit_closes_when_the_reply_is_out() -> None:
    node = Node()
    assert node.run("QUIT", "now") == OK
    assert node.client.close_after_reply


def test_names() -> None:
    node = Node()
    assert node.run("CLIENT", "GETNAME") == b"$-1\r\n"
    assert node.run("CLIENT", "SETNAME", "me") == OK
    assert node.run("CLIENT", "GETNAME") == b"$2\r\nme\r\n"
    assert node.run("CLIENT", "SETNAME", "not me")[:1] == b"-"
    assert node.run("CLIENT", "GETNAME") == b"$2\r\nme\r\n"
    assert node.run("CLIENT", "SETNAME", "") == OK
    assert node.run("CLIENT", "GETNAME") == b"$-1\r\n"
    assert node.run("CLIENT", "ID") == b":1\r\n"


def described(node: Node, session: Session) -> dict[str, str]:
    text = node.run("CLIENT", "LIST", "ID", str(session.id)).split(b"\r\n")[1].decode()
    return dict(field.split("=", 1) for field in text.removesuffix("\n").split(" "))


def test_client_list_describes_clients() -> None:
    node = Node()
    other = node.connect()
    other.name, other.proto, other.db = b"worker", 3, 4
    other.blocked = Waiting((b"s",))
    other.no_evict = other.no_touch = other.close_after_reply = True
    other.last_command = TABLE[b"xreadgroup"]
    other.output_bytes, other.query_buffer_bytes = 100, 7
    fields = described(node, other)
    assert fields["addr"] == "127.0.0.1:50002"
    assert (fields["age"], fields["idle"]) == ("5", "1")
    assert (fields["name"], fields["db"], fields["resp"]) == ("worker", "4", "3")
    assert (fields["flags"], fields["cmd"]) == ("bceT", "xreadgroup")
    assert (fields["omem"], fields["qbuf"], fields["events"]) == ("100", "7", "rw")
    assert (described(node, node.client)["flags"], node.run("CLIENT", "LIST").count(b"\n")) == (
        "N",
        4,
    )


def test_client_list_has_the_fields_of_its_version(oracle: Server) -> None:
    with oracle.connect() as client:
        words = client.call("CLIENT", "INFO").decode().strip().split(" ")
    fields = [word.partition("=")[0] for word in words]
    assert fields[-4:] == ["io-thread", "tot-net-in", "tot-net-out", "tot-cmds"]
    for version, has in ((REDIS_8_VERSION, fields), ("8.0.9", fields[:-3]), ("7.4.7", fields[:-4])):
        node = Node(redis_version=version)
        assert list(described(node, node.client)) == has


def test_a_command_counts_once_it_is_done() -> None:
    node = Node(redis_version="8.2.0")
    other = node.connect()
    assert described(node, node.client)["tot-cmds"] == "0"
    assert described(node, node.client)["tot-cmds"] == "1"
    other.total_commands, other.received_bytes, other.sent_bytes = 5, 100, 200
    fields = described(node, other)
    assert (fields["tot-net-in"], fields["tot-net-out"], fields["tot-cmds"]) == ("100", "200", "5")
    other.blocked = Waiting((b"s",))
    assert described(node, other)["tot-cmds"] == "4"


def test_client_kill_by_filters() -> None:
    node = Node()
    two, three, four = node.connect(), node.connect(), node.connect()
    three.laddr = "10.0.0.1:6379"
    four.created_ms = NOW_MS - 3_600_000
    for words, killed in (
        (f"ID {two.id} ADDR {three.addr}", []),
        (f"LADDR {three.laddr} TYPE normal USER default", [3]),
        ("MAXAGE 3600", [4]),
        ("SKIPME yes TYPE normal", [2]),
        ("ID 1", []),
    ):
        node.server.done.clear()
        assert node.run("CLIENT", "KILL", *words.split()) == b":%d\r\n" % len(killed)
        assert node.server.done == [("kill", number) for number in killed]
    assert not node.client.close_after_reply


def test_client_kill_of_oneself_answers_first() -> None:
    node = Node()
    assert node.run("CLIENT", "KILL", node.client.addr) == OK
    assert node.client.close_after_reply
    node = Node()
    assert node.run("CLIENT", "KILL", "ID", "1", "SKIPME", "no") == b":1\r\n"
    assert node.client.close_after_reply
    assert node.server.done == []


def test_a_refused_kill_kills_nobody() -> None:
    node = Node()
    node.connect()
    assert node.run("CLIENT", "KILL", "ID", "2", "SKIPME", "maybe")[:1] == b"-"
    assert node.server.done == []


def test_client_unblock() -> None:
    node = Node()
    other = node.connect()
    assert node.run("CLIENT", "UNBLOCK", "2") == b":0\r\n"
    other.blocked = Waiting((b"s",), cold=True)
    assert node.run("CLIENT", "UNBLOCK", "2") == b":0\r\n"
    assert described(node, other)["flags"] == "N"
    other.blocked = Waiting((b"s",))
    assert node.run("CLIENT", "UNBLOCK", "2", "ERROR") == b":1\r\n"
    other.blocked = Waiting((b"s",))
    assert node.run("CLIENT", "UNBLOCK", "2") == b":1\r\n"
    assert node.server.done == [("unblock", 2, True), ("unblock", 2, False)]


def test_help_speaks_of_the_subcommands_there_are() -> None:
    lines = Node().run("CLIENT", "HELP").split(b"\r\n")
    heads = {line[1:].split(b" ")[0] for line in lines[2:] if line and not line.startswith(b"+ ")}
    assert heads == {
        *(b"GETNAME", b"ID", b"INFO", b"KILL", b"LIST", b"SETNAME", b"SETINFO", b"UNBLOCK"),
        *(b"NO-EVICT", b"NO-TOUCH", b"HELP"),
    }


def test_maintenance_notifications_are_refused_as_redis_does(oracle: Server) -> None:
    words = ("CLIENT", "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", "internal-ip")
    with oracle.connect() as client:
        assert Node().run(*words) == client.raw(*words)
