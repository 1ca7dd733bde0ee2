"""Scripts: what they cannot reach, when they end, and that they are one batch.

Each attempt to get out of the sandbox is a script that must be refused or find nothing.
"""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from lsmstore.simfs import LOSE_ALL
from tests.sim.node import SimNode

ATTEMPTS = {
    "io": "return io.open('/etc/passwd')",
    "os beside the clock": "return os.execute('true')",
    "os.getenv": "return os.getenv('PATH')",
    "package": "return package.loadlib('x', 'y')",
    "require": "return require('os')",
    "module": "return module('x')",
    "debug": "return debug.getinfo(1)",
    "debug of redis": "return redis.debug.getregistry()",
    "dofile": "return dofile('/etc/passwd')",
    "loadfile": "return loadfile('/etc/passwd')",
    "python": "return python.eval('1')",
    "python builtins": "return python.builtins.open('/etc/passwd')",
    "getfenv": "return getfenv(0).io",
    "setfenv": "return setfenv(1, {})",
    "newproxy": "return newproxy(true)",
    "print": "return print('x')",
    "the globals of loadstring": "return loadstring('return io')()",
    "the globals of load": "load(function() return nil end) return io",
    "string.dump": "return string.dump(function() end)",
    "bytecode": "return assert(loadstring('\\27Lua'))",
    "bytecode in pieces": (
        "local a = {'\\27L', 'ua'} return assert(load(function() return table.remove(a, 1) end))"
    ),
    "the metatable of strings": "return getmetatable('').__index",
    "the metatable of the globals": "return getmetatable(_G).__index.io",
    "a new metatable for globals": "setmetatable(_G, {})",
    "globals by rawset": "rawset(_G, 'x', 1)",
    "a library by rawset": "rawset(string, 'rep', 1)",
    "a new global": "x = 1",
    "attributes of a function": "return redis.call.__globals__",
    "attributes of a library function": "return cjson.encode.__self__",
    "the error of a call": (
        "local ok, e = pcall(redis.call, 'NOSUCH') return e.__traceback__.tb_frame"
    ),
    "the error of a call in a coroutine": (
        "local co = coroutine.create(function() return redis.call('NOSUCH') end) "
        "local ok, e = coroutine.resume(co) return e.__traceback__.tb_frame"
    ),
    "the error of a call in a handler": (
        "local got; xpcall(function() return redis.call('NOSUCH') end, function(e) got = e end) "
        "return got.__traceback__.tb_frame"
    ),
    "null": "return cjson.null.__class__",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_nothing_outside_is_reached(attempt: str) -> None:
    node = SimNode()
    reply = node.raw("EVAL", ATTEMPTS[attempt], 0)
    assert reply.startswith(b"-") or reply == b"$-1\r\n", reply
    assert node.call("EVAL", "return string.rep('x', 3)", 0) == b"xxx"


def test_values_a_script_may_hold() -> None:
    """Every value reachable from the globals is of Lua, but for cjson.null."""
    node = SimNode()
    found = node.call(
        "EVAL",
        "local kinds = {} "
        "for _, lib in ipairs({'redis', 'string', 'table', 'math', 'coroutine', 'os', 'cjson', "
        "'cmsgpack', 'struct', 'bit'}) do kinds[#kinds + 1] = type(_G[lib]) end "
        "kinds[#kinds + 1] = type(redis.call) kinds[#kinds + 1] = type(cjson.encode) "
        "local ok, e = pcall(redis.call, 'NOSUCH') kinds[#kinds + 1] = type(e) "
        "local co = coroutine.create(function() redis.call('NOSUCH') end) "
        "ok, e = coroutine.resume(co) kinds[#kinds + 1] = type(e) "
        "xpcall(function() redis.call('NOSUCH') end, function(m) e = m end) "
        "kinds[#kinds + 1] = type(e) return kinds",
        0,
    )
    assert found == [b"table"] * 10 + [b"function", b"function", b"string", b"table", b"table"]


ENDLESS = {
    "a loop": "while true do end",
    "within pcall": "while true do pcall(function() while true do end end) end",
    "within xpcall": "while true do xpcall(function() while true do end end, tostring) end",
    "within a coroutine": (
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end"
    ),
    "within wrap": "while true do pcall(coroutine.wrap(function() while true do end end)) end",
    "by recursion": "local function f() return f() end f()",
    "in a comparison": "table.sort({1, 2, 3}, function() while true do end end)",
}


BUSY = b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
ABORTED = b"-EXECABORT Transaction discarded because of: " + BUSY[1:]


def busy_node(threshold_ms: int = 50) -> SimNode:
    """A node on which time passes while a script runs."""
    node = SimNode(settings={"busy-reply-threshold": str(threshold_ms)})
    node.clock.perf_step_s = 0.001
    return node


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_script_that_has_written_nothing_can_be_killed(kind: str) -> None:
    node = busy_node()
    other = node.connect()
    node.skin.while_held_up = lambda: other.send("SCRIPT", "KILL")
    reply = node.raw("EVAL", ENDLESS[kind], 0)
    assert reply.startswith(b"-ERR Script killed by user with SCRIPT KILL... script: "), reply
    assert reply.endswith(b", on @user_script:1.\r\n")
    assert other.replies()[0] == b"+OK\r\n"
    assert (node.skin.looks, node.skin.holdups) == (1, 1)
    assert node.call("EVAL", "return 1", 0) == 1
    assert other.raw("SCRIPT", "KILL") == b"-NOTBUSY No scripts in execution right now.\r\n"


def test_what_others_are_told_while_a_script_runs() -> None:
    node = busy_node()
    other, queuing, waiting = node.connect(), node.connect(), node.connect()
    waiting.send("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    node.run()
    queuing.call("MULTI")
    told: list[bytes] = []

    def while_held_up() -> None:
        if node.skin.looks > 1:
            return
        for words in (
            ("GET", "k"),
            ("GET",),
            ("FUNCTION", "STATS"),
            ("FUNCTION", "KILL"),
            ("SCRIPT", "KILL"),
            ("SHUTDOWN",),
            ("SUBSCRIBE", "c"),
            ("AUTH", "a", "b"),
        ):
            other.send(*words)
        queuing.send("SET", "k", "w")
        queuing.send("EXEC")
        other.feed(b"*1\r\n$7\r\nDISCARD\r\n*1\r\n$4\r\nPI")

    node.skin.while_held_up = while_held_up
    script = (
        "redis.call('XADD', 's', '1-1', 'f', redis.call('SET', 'k', 'v').ok) "
        "for i = 1, 3000000 do end return redis.call('GET', 'k')"
    )
    node.client.send("EVAL", script, 0)
    told = [line.rstrip() for line in other.replies()]
    assert told[0] == BUSY
    assert told[1] == b"-ERR wrong number of arguments for 'get' command"
    assert told[2] == BUSY
    assert told[3].startswith(b"-UNKILLABLE Sorry the script already executed write commands")
    assert told[4] == told[3]
    assert told[5:7] == [BUSY, BUSY]
    assert told[7].startswith(b"-WRONGPASS")
    assert told[8:] == [b"-ERR DISCARD without MULTI"]
    assert [line.rstrip() for line in queuing.replies()] == [BUSY, ABORTED]
    assert node.client.take() is None  # its own reply leaves with the tick, when all is on disk
    assert waiting.take() is None
    node.run()
    assert node.client.take() == b"$1\r\nv\r\n"
    assert waiting.take() is not None
    other.feed(b"NG\r\n")
    node.run()
    assert other.take() == b"+PONG\r\n"
    assert queuing.raw("GET", "k") == b"$1\r\nv\r\n"


def test_nothing_of_a_script_is_committed_while_others_are_answered() -> None:
    node = busy_node()
    other = node.connect()
    held: list[tuple[int, int]] = []

    def while_held_up() -> None:
        other.send("PING")
        held.append((node.store.written_lsn, node.engine.journal.count))

    node.skin.while_held_up = while_held_up
    before = node.store.written_lsn
    big = "redis.call('SET', KEYS[1], string.rep('x', 2000000)) for i = 1, 2000000 do end return 1"
    assert node.call("EVAL", big, 1, "k") == 1
    assert len(held) > 1
    assert set(held) == {(before, 1)}
    assert set(other.replies()) == {BUSY + b"\r\n"}


def test_replies_that_wait_for_the_log_are_not_overtaken() -> None:
    node = SimNode(settings={"busy-reply-threshold": "1"}, sync_on_thread=True)
    other = node.connect()
    other.send("SET", "a", "b")
    node.engine.tick()  # its reply waits for a sync on a thread
    node.skin.while_held_up = lambda: other.send("PING") if node.skin.looks == 1 else None
    node.client.send("EVAL", "for i = 1, 1000000 do end return 1", 0)
    assert node.skin.looks > 1
    assert other.replies() == [b"+OK\r\n", BUSY + b"\r\n"]
    node.run()
    assert other.replies() == []


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
@pytest.mark.parametrize("looked_at", [False, True])
def test_what_came_before_the_script_is_done_with_first(appendfsync: str, looked_at: bool) -> None:
    """In the same turn of the loop: it is on disk and answered before the script is over."""
    node = SimNode(settings={"busy-reply-threshold": "50"}, appendfsync=appendfsync)
    node.clock.perf_step_s = 0.001
    first, second, watching = node.connect(), node.connect(), node.connect()
    if looked_at:
        watching.call("SUBSCRIBE", "__keyevent@0__:set")
        node.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    lsn = node.store.written_lsn
    seen: list[tuple[bytes | None, bytes | None, int, int]] = []
    found = []

    def while_held_up() -> None:
        if node.skin.looks == 1:
            answers = first.take(), second.take()
            seen.append((*answers, node.store.written_lsn - lsn, node.engine.journal.count))
            found.append(
                node.reopen(
                    node.fs.crash(random.Random(7), LOSE_ALL) if appendfsync == "always" else None
                )
            )

    node.skin.while_held_up = while_held_up
    first.send("SET", "a", "1")
    second.send("PING")
    node.client.send("MULTI")
    node.client.send("SET", "b", "2")
    node.client.send("EVAL", "redis.call('SET', 'c', '3') for i = 1, 3000000 do end", 0)
    node.client.send("EXEC")
    assert seen == [(b"+OK\r\n", b"+PONG\r\n", 1, 2)]
    assert [found[0].call("GET", key) for key in "abc"] == [b"1", None, None]
    node.run()
    assert len(node.client.replies()) == 4
    assert [node.call("GET", key) for key in "abc"] == [b"1", b"2", b"3"]
    assert node.store.written_lsn - lsn == 3
    if looked_at:
        told = [reply.split(b"\r\n")[-2] for reply in watching.replies()]
        assert told == [b"a", b"b", b"c"]
    again = node.reopen()
    assert [again.call("GET", key) for key in "abc"] == [b"1", b"2", b"3"]


def test_a_script_within_a_transaction_can_be_killed() -> None:
    node = busy_node()
    other = node.connect()
    node.skin.while_held_up = lambda: other.send("SCRIPT", "KILL")
    node.call("MULTI")
    node.call("SET", "a", "1")
    node.call("EVAL", "while true do end", 0)
    node.call("SET", "b", "2")
    ok, killed, last = node.call("EXEC")
    assert (ok, last) == (b"OK", b"OK")
    assert killed.value.startswith(b"ERR Script killed by user")
    assert node.call("GET", "b") == b"2"


def test_shutdown_ends_the_process_and_what_the_script_has_written() -> None:
    node = busy_node()
    other = node.connect()

    def while_held_up() -> None:
        if node.skin.looks == 1:
            other.send("SHUTDOWN", "SAVE")
            other.send("SHUTDOWN", "NOSAVE")

    node.skin.while_held_up = while_held_up
    node.call("SET", "a", "1")
    node.client.send("EVAL", "redis.call('SET', 'b', '2') for i = 1, 3000000 do end", 0)
    assert other.take() == BUSY + b"\r\n"
    assert node.skin.left
    again = node.reopen()
    assert (again.call("GET", "a"), again.call("GET", "b")) == (b"1", None)


def test_without_a_threshold_nobody_is_answered() -> None:
    node = busy_node(threshold_ms=0)
    script = "redis.call('SET', 'k', 'v') for i = 1, 300000 do end return redis.call('GET', 'k')"
    assert node.call("EVAL", script, 0) == b"v"
    assert node.skin.looks == 0


@pytest.mark.parametrize(
    "script",
    [
        "local s = 'x' while true do s = s .. s end",
        "while true do pcall(function() local s = 'x' while true do s = s .. s end end) end",
        "return string.rep('x', 1e9)",
    ],
)
def test_a_script_that_takes_all_memory_ends(script: str) -> None:
    node = SimNode()
    assert node.raw("EVAL", script, 0).startswith(b"-ERR not enough memory"), script
    assert node.call("EVAL", "return 1", 0) == 1


MIB = 1 << 20


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("return redis.call('GET', 'large')", 0),
        ("return {pcall(redis.call, 'GET', 'large')}", 0),
        ("while true do pcall(redis.pcall, 'MGET', 'large', 'large') end", 0),
        ("return redis.call('XRANGE', 's', '-', '+')", 0),
        ("return cjson.encode({string.rep('x', 24000000), string.rep('y', 24000000)})", 0),
        ("return 1", 66),
    ],
)
def test_what_is_handed_to_a_script_is_bounded_too(script: str, arguments: int) -> None:
    node = SimNode()
    for _ in range(66):
        node.call("APPEND", "large", "x" * MIB)
    for i in range(1, 15):
        node.call("XADD", "s", f"{i}-0", "f", f"{i}" + "x" * 5 * MIB)  # Lua keeps equal ones once
    argv = [f"{i}" + "x" * MIB for i in range(arguments)]
    assert node.raw("EVAL", script, 0, *argv).startswith(b"-ERR not enough memory"), script
    assert node.call("EVAL", "return 1", 0) == 1


def test_a_large_body_is_refused() -> None:
    node = SimNode()
    reply = node.raw("EVAL", "--" + "x" * 66 * MIB, 0)
    assert reply.startswith(b"-ERR Error compiling script"), reply[:99]
    assert node.call("EVAL", "return 1", 0) == 1


def test_scripts_that_eval_brought_are_forgotten_one_by_one() -> None:
    node = SimNode()
    kept = node.call("SCRIPT", "LOAD", "return 'kept'")
    first = node.call("SCRIPT", "LOAD", "return 0")  # loaded, then used by EVAL: it stays
    for i in range(600):
        assert node.call("EVAL", f"return {i}", 0) == i
    assert node.call("EVALSHA", kept, 0) == b"kept"
    assert node.call("EVALSHA", first, 0) == 0
    assert node.call("EVAL", "return redis.sha1hex('return 1')", 0)
    shas = [node.call("EVAL", f"return redis.sha1hex('return {i}')", 0) for i in (1, 599)]
    assert node.call("SCRIPT", "EXISTS", *shas) == [0, 1]


@pytest.mark.parametrize(
    "script",
    [
        "return setmetatable({}, {__index = function() while true do end end})",
        "return setmetatable({}, {__index = function(t, k) return k end})",
        "return setmetatable({}, {__index = function() error('x') end})",
        "return _G",
        "return {map = setmetatable({}, {__index = error})}",
    ],
)
def test_nothing_of_a_script_runs_when_its_reply_is_read(script: str) -> None:
    node = SimNode()
    assert node.call("EVAL", script, 0) == []
    assert node.call("EVAL", "return 1", 0) == 1


@pytest.mark.parametrize("what", ["_G", "setmetatable({}, {__index = error})", "redis"])
def test_an_error_of_any_shape_is_an_error(what: str) -> None:
    node = SimNode()
    assert node.raw("EVAL", f"error({what})", 0).startswith(b"-"), what
    assert node.call("EVAL", "return 1", 0) == 1


def test_a_script_is_one_frame_and_one_time() -> None:
    node = SimNode()
    frames: list[int] = []
    commit = node.store.commit

    def noted(payload: bytes, count: int) -> int:
        frames.append(count)
        return commit(payload, count)

    node.store.commit = noted  # type: ignore[method-assign, assignment]
    script = "for i = 1, 1500 do redis.call('XADD', KEYS[1], '*', 'f', ARGV[1]) end"
    assert node.call("EVAL", script, 1, "s", "x" * 1000) is None
    assert frames == [1501]
    assert node.call("XLEN", "s") == 1500
    first, last = node.call("XRANGE", "s", "-", "+", "COUNT", 1), node.call("XREVRANGE", "s", "+",
        "-", "COUNT", 1)  # fmt: skip
    assert first[0][0].split(b"-")[0] == last[0][0].split(b"-")[0]


def test_a_script_serves_those_who_wait_when_it_is_over() -> None:
    node = SimNode()
    reader = node.connect()
    reader.send("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    node.run()
    node.call("EVAL", "redis.call('XADD', 's', '1-1', 'a', 'b') redis.call('XDEL', 's', '1-1')", 0)
    assert reader.replies() == []
    node.call("EVAL", "redis.call('XADD', 's', '2-1', 'a', 'b') redis.call('XLEN', 's')", 0)
    assert len(reader.replies()) == 1


def test_what_a_script_reads_its_caller_has_read() -> None:
    node = SimNode()
    client = node.connect()
    client.call("HELLO", 3)
    client.call("CLIENT", "TRACKING", "ON")
    client.call("EVAL", "return redis.call('GET', KEYS[1])", 1, "k")
    node.call("SET", "k", "v")
    assert client.replies() == [b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"]


def test_lua_is_loaded_with_the_first_script() -> None:
    code = "import sys, respserver.server; sys.exit('lupa' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["redis", "_G", "string", "table", "math", "cjson", "os", "bit"])
def test_what_a_script_puts_past_a_readonly_table_is_gone_with_it(name: str) -> None:
    """table.insert asks no metatable."""
    node = SimNode()
    found = f"return rawget({name}, 1) or 'nothing'"
    assert node.call("EVAL", f"table.insert({name}, 'left') {found}", 0) == b"left"
    assert node.call("EVAL", found, 0) == b"nothing"
