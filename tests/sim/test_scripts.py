"""Scripts: what they cannot reach, when they end, and that they are one batch.

Each attempt to get out of the sandbox is a script that must be refused or find nothing.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_script_that_has_written_nothing_ends_at_its_time(kind: str) -> None:
    node = SimNode(settings={"busy-reply-threshold": "50"})
    node.clock.perf_step_s = 0.001
    reply = node.raw("EVAL", ENDLESS[kind], 0)
    assert reply.startswith(b"-ERR Error running script, killed at its time limit"), reply
    assert node.call("EVAL", "return 1", 0) == 1


def test_a_script_that_has_written_is_not_ended() -> None:
    node = SimNode(settings={"busy-reply-threshold": "0"})
    script = "redis.call('SET', 'k', 'v') for i = 1, 300000 do end return redis.call('GET', 'k')"
    assert node.call("EVAL", script, 0) == b"v"
    assert node.raw("EVAL", "for i = 1, 300000 do end return 1", 0).startswith(b"-ERR Error")


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
