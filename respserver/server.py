"""Puts a node together: settings, files, engine, sockets, signals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import resource
import signal
import socket
import stat
from collections.abc import Callable

import uvloop

from lsmstore.errors import Corruption, StorageError
from lsmstore.fs import OsFS
from lsmstore.options import StoreOptions
from lsmstore.runner import ChildRunner
from lsmstore.store import Store
from respserver.clock import SystemClock
from respserver.engine import Engine
from respserver.net import Entrance, LoopSkin
from respserver.settings import Config
from respserver.supervision import WAIT_S, Manager
from streams.replay import RecordError

DESCRIPTORS_BESIDE_CLIENTS = 128
LOG_COMPRESSED_BYTES_MIN = 1024  # of a frame; less hardly shrinks
# Resident streams are many containers and hardly any of them garbage: look through them rarely.
COLLECTOR_THRESHOLDS = (100_000, 50, 50)
EVERYWHERE = {"*": "0.0.0.0", "::*": "::"}
MISSING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)


class StartupError(Exception):
    """The server cannot start; the text is one line for the person who started it."""


def run(config: Config, announce: Callable[[str], None]) -> int:
    """Serve until a signal; returns the exit code. Raises StartupError."""
    return uvloop.run(_serve(config, announce))


async def _serve(config: Config, announce: Callable[[str], None]) -> int:
    loop = asyncio.get_running_loop()
    _raise_descriptor_limit(config.maxclients)
    directory = os.path.abspath(config.dir)
    skin = LoopSkin(loop)
    manager = Manager(os.environ)
    try:
        os.makedirs(directory, exist_ok=True)
        compressed_bytes_min = LOG_COMPRESSED_BYTES_MIN if config.log_compression else 0
        options = StoreOptions(log_compressed_bytes_min=compressed_bytes_min)
        store = Store.open(OsFS(), directory, options)
    except (StorageError, OSError) as error:
        why = f"cannot open the data directory {directory}: {error}"
        raise StartupError(why + _remedy(error, directory)) from error
    try:
        runner = ChildRunner("streams.mergeworker")
        engine = Engine(store, config, SystemClock(), skin, runner=runner)
        manager.recovering(0)
        engine.recover(manager.recovering)
    except (StorageError, RecordError, OSError) as error:
        why = f"cannot recover from {directory}: {error}"
        raise StartupError(why + _remedy(error, directory)) from error
    skin.engine = engine
    sockets: list[socket.socket] = []
    try:
        for host in config.bind:
            sockets += _listen(host, engine.port, config.tcp_backlog)
            if engine.port == 0 and sockets:
                engine.port = sockets[0].getsockname()[1]
    except OSError as error:
        store.close()
        raise StartupError(_listen_message(error, config)) from error
    if not sockets:
        store.close()
        raise StartupError(f"none of the addresses {' '.join(config.bind)} is on this machine")
    if config.unixsocket:
        try:
            sockets.append(_listen_unix(config))
        except OSError as error:
            store.close()
            raise StartupError(
                f"cannot listen on the Unix socket {config.unixsocket}: {error}"
            ) from error
    entrance = skin.entrance = Entrance(engine, loop)
    entrance.open(sockets)
    loop.set_exception_handler(skin.unexpected)
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, skin.shutdown)
    engine.settings_changed(frozenset())
    keys = sum(tally.keys for tally in engine.keyspace.tallies.values())
    ready = (
        f"respq ready on {', '.join(_where(sockets))} | data {directory} | "
        f"appendfsync {config.appendfsync} | recovered {engine.recovered} records, "
        f"{keys} keys in {engine.recovery_ms} ms"
    )
    announce(ready)
    manager.tell("READY=1", f"STATUS={ready}", wait_s=WAIT_S)
    if manager.watchdog_s is not None:
        _beat(loop, manager, manager.watchdog_s)
    await skin.stopped.wait()
    status = "stopping" if skin.error is None else str(skin.error)
    manager.tell("STOPPING=1", f"STATUS={status}", wait_s=WAIT_S)
    entrance.close()
    if config.unixsocket:
        _remove(config.unixsocket)
    if skin.error is None:
        engine.close(skin.close)
    if skin.error is not None:
        announce(f"respq stops: {skin.error}")
        os._exit(1)
    manager.close()
    for session in list(engine.sessions.values()):
        session.transport.close()
    await asyncio.sleep(0)
    return 0


def _beat(loop: asyncio.AbstractEventLoop, manager: Manager, interval_s: float) -> None:
    """Tell the service manager that the loop turns, now and ever again."""
    manager.tell("WATCHDOG=1")
    loop.call_later(interval_s, _beat, loop, manager, interval_s)


def _remedy(error: Exception, directory: str) -> str:
    """What to try where something is damaged."""
    damaged = isinstance(error, Corruption | RecordError)
    return f"; try: respq repair {directory} (it shows its plan)" if damaged else ""


def _listen(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Listen on an address, or on all of a name; none where it may be missing on this machine and
    is (a ``-`` before it). Raises OSError.
    """
    optional = host.startswith("-")
    name = EVERYWHERE.get(host.removeprefix("-"), host.removeprefix("-"))
    found = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            sock = socket.socket(family, kind, protocol)
            found.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(backlog)
            sock.setblocking(False)
    except OSError as error:
        for sock in found:
            sock.close()
        if optional and error.errno in MISSING:
            return []
        raise
    return found


def _listen_unix(config: Config) -> socket.socket:
    """Listen on a Unix socket. A file that is there is one that a dead server left behind."""
    path = config.unixsocket
    _remove(path)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    if config.unixsocketperm:
        os.chmod(path, config.unixsocketperm)
    sock.listen(config.tcp_backlog)
    sock.setblocking(False)
    return sock


def _remove(path: str) -> None:
    """Remove a socket's file, if that is what it is."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)


def _listen_message(error: OSError, config: Config) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {config.port} is in use by another process; choose another with --port"
    return f"cannot listen on {' '.join(config.bind)} port {config.port}: {error}"


def _where(sockets: list[socket.socket]) -> list[str]:
    places = []
    for sock in sockets:
        if sock.family == socket.AF_UNIX:
            places.append(sock.getsockname())
            continue
        host, port = sock.getsockname()[:2]
        places.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    return places


def _raise_descriptor_limit(clients: int) -> None:
    """Allow as many descriptors as ``clients`` need, as far as the system lets us."""
    wanted = clients + DESCRIPTORS_BESIDE_CLIENTS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, PermissionError):
            wanted = hard
        else:
            return
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
