"""Puts a node together: settings, files, engine, sockets, signals."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import signal
from collections.abc import Callable

import uvloop

from lsmstore.errors import StorageError
from lsmstore.fs import OsFS
from lsmstore.options import StoreOptions
from lsmstore.runner import ChildRunner
from lsmstore.store import Store
from respserver.clock import SystemClock
from respserver.engine import Engine
from respserver.net import Doorman, LoopSkin
from respserver.settings import Config
from streams.replay import RecordError

DESCRIPTORS_BESIDE_CLIENTS = 128
# Resident streams are many containers and hardly any of them garbage: look through them rarely.
COLLECTOR_THRESHOLDS = (100_000, 50, 50)


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
    try:
        os.makedirs(directory, exist_ok=True)
        store = Store.open(OsFS(), directory, StoreOptions())
    except (StorageError, OSError) as error:
        raise StartupError(f"cannot open the data directory {directory}: {error}") from error
    try:
        runner = ChildRunner("streams.mergeworker")
        engine = Engine(store, config, SystemClock(), skin, runner=runner)
        engine.recover()
    except (StorageError, RecordError, OSError) as error:
        raise StartupError(f"cannot recover from {directory}: {error}") from error
    skin.engine = engine
    servers: list[asyncio.Server] = []
    try:
        for host in config.bind:
            server = await _listen(loop, engine, host, config)
            if server is None:
                continue
            servers.append(server)
            if engine.port == 0:
                engine.port = server.sockets[0].getsockname()[1]
    except OSError as error:
        store.close()
        raise StartupError(_listen_message(error, config)) from error
    if not servers:
        store.close()
        raise StartupError(f"none of the addresses {' '.join(config.bind)} is on this machine")
    loop.set_exception_handler(skin.unexpected)
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, skin.shutdown)
    engine.settings_changed(frozenset())
    keys = sum(tally.keys for tally in engine.keyspace.tallies.values())
    announce(
        f"respq ready on {', '.join(_where(servers))} | data {directory} | "
        f"appendfsync {config.appendfsync} | recovered {engine.recovered} records, "
        f"{keys} keys in {engine.recovery_ms} ms"
    )
    await skin.stopped.wait()
    for server in servers:
        server.close()
    if skin.error is None:
        engine.close(skin.close)
    if skin.error is not None:
        announce(f"respq stops: {skin.error}")
        os._exit(1)
    for session in list(engine.sessions.values()):
        session.transport.close()
    await asyncio.sleep(0)
    return 0


async def _listen(
    loop: asyncio.AbstractEventLoop, engine: Engine, host: str, config: Config
) -> asyncio.Server | None:
    """Listen on one address; a ``-`` before it means that it may be missing on this machine."""
    optional = host.startswith("-")
    name = host.removeprefix("-")
    if name == "*":
        name = "0.0.0.0"
    elif name == "::*":
        name = "::"
    try:
        return await loop.create_server(
            lambda: Doorman(engine), name, engine.port, backlog=config.tcp_backlog
        )
    except OSError as error:
        if optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL):
            return None
        raise


def _listen_message(error: OSError, config: Config) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {config.port} is in use by another process; choose another with --port"
    return f"cannot listen on {' '.join(config.bind)} port {config.port}: {error}"


def _where(servers: list[asyncio.Server]) -> list[str]:
    places = []
    for server in servers:
        for sock in server.sockets:
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
