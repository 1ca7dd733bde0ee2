"""SUBSCRIBE, PUBLISH and their kin (respserver/pubsub.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.errors import subcommand_syntax
from respserver.glob import matches
from respserver.helptext import help_reply
from respserver.keyspec import all_keys, one_key
from respserver.replies import Raw, Simple
from respserver.spec import FAST, LOADING, NOSCRIPT, PUBSUB, STALE, command, declare

if TYPE_CHECKING:
    from respserver.call import Call
    from respserver.pubsub import Listeners

LISTENING = PUBSUB | NOSCRIPT | LOADING | STALE
TELLING = PUBSUB | LOADING | STALE | FAST
ASKING = PUBSUB | LOADING | STALE


@command(
    "SUBSCRIBE",
    "channel...",
    "Listens for messages published to channels.",
    arity=-2,
    flags=LISTENING,
    since="2.0.0",
    group="pubsub",
    complexity="O(N) where N is the number of channels to subscribe to.",
)
def subscribe(call: Call) -> Raw:
    pubsub = call.server.observers.pubsub
    return Raw(pubsub.subscribe(call.session, pubsub.channels, call.argv[1:]))


@command(
    "PSUBSCRIBE",
    "pattern:pattern...",
    "Listens for messages published to channels that match one or more patterns.",
    arity=-2,
    flags=LISTENING,
    since="2.0.0",
    group="pubsub",
    complexity="O(N) where N is the number of patterns to subscribe to.",
)
def psubscribe(call: Call) -> Raw:
    pubsub = call.server.observers.pubsub
    return Raw(pubsub.subscribe(call.session, pubsub.patterns, call.argv[1:]))


@command(
    "SSUBSCRIBE",
    "shardchannel...",
    "Listens for messages published to shard channels.",
    arity=-2,
    flags=LISTENING,
    keys=all_keys("not_key"),
    since="7.0.0",
    group="pubsub",
    complexity="O(N) where N is the number of shard channels to subscribe to.",
)
def ssubscribe(call: Call) -> Raw:
    pubsub = call.server.observers.pubsub
    return Raw(pubsub.subscribe(call.session, pubsub.shard_channels, call.argv[1:]))


@command(
    "UNSUBSCRIBE",
    "[channel...]",
    "Stops listening to messages posted to channels.",
    arity=-1,
    flags=LISTENING,
    since="2.0.0",
    group="pubsub",
    complexity="O(N) where N is the number of channels to unsubscribe.",
)
def unsubscribe(call: Call) -> Raw:
    pubsub = call.server.observers.pubsub
    return Raw(pubsub.unsubscribe(call.session, pubsub.channels, call.argv[1:]))


@command(
    "PUNSUBSCRIBE",
    "[pattern:pattern...]",
    "Stops listening to messages published to channels that match one or more patterns.",
    arity=-1,
    flags=LISTENING,
    since="2.0.0",
    group="pubsub",
    complexity="O(N) where N is the number of patterns to unsubscribe.",
)
def punsubscribe(call: Call) -> Raw:
    pubsub = call.server.observers.pubsub
    return Raw(pubsub.unsubscribe(call.session, pubsub.patterns, call.argv[1:]))


@command(
    "SUNSUBSCRIBE",
    "[shardchannel...]",
    "Stops listening to messages posted to shard channels.",
    arity=-1,
    flags=LISTENING,
    keys=all_keys("not_key"),
    since="7.0.0",
    group="pubsub",
    complexity="O(N) where N is the number of shard channels to unsubscribe.",
)
def sunsubscribe(call: Call) -> Raw:
    pubsub = call.server.observers.pubsub
    return Raw(pubsub.unsubscribe(call.session, pubsub.shard_channels, call.argv[1:]))


@command(
    "PUBLISH",
    "channel message",
    "Posts a message to a channel.",
    arity=3,
    flags=TELLING,
    since="2.0.0",
    group="pubsub",
    complexity=(
        "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the "
        "total number of subscribed patterns (by any client)."
    ),
)
def publish(call: Call) -> int:
    return call.server.observers.pubsub.publish(call.argv[1], call.argv[2])


@command(
    "SPUBLISH",
    "shardchannel message",
    "Post a message to a shard channel",
    arity=3,
    flags=TELLING,
    keys=one_key("not_key"),
    since="7.0.0",
    group="pubsub",
    complexity="O(N) where N is the number of clients subscribed to the receiving shard channel.",
)
def spublish(call: Call) -> int:
    return call.server.observers.pubsub.publish_to_shard(call.argv[1], call.argv[2])


declare(
    "PUBSUB",
    "",
    "A container for Pub/Sub commands.",
    arity=-2,
    since="2.8.0",
    group="pubsub",
    complexity="Depends on subcommand.",
)


def listened_to(to: Listeners, pattern: list[bytes]) -> list[bytes]:
    """The names that somebody listens to, those that match if there is a pattern."""
    return [name for name in to.by_name if not pattern or matches(pattern[0], name)]


def counted(to: Listeners, names: list[bytes]) -> list[bytes | int]:
    """Each name, and how many listen to it."""
    found: list[bytes | int] = []
    for name in names:
        found += [name, len(to.by_name.get(name, ()))]
    return found


@command(
    "PUBSUB CHANNELS",
    "[pattern:pattern]",
    "Returns the active channels.",
    arity=-2,
    flags=ASKING,
    since="2.8.0",
    group="pubsub",
    complexity=(
        "O(N) where N is the number of active channels, and assuming constant time pattern "
        "matching (relatively short channels and patterns)"
    ),
)
def channels(call: Call) -> list[bytes]:
    if len(call.argv) > 3:
        raise subcommand_syntax(call.argv)
    return listened_to(call.server.observers.pubsub.channels, call.argv[2:])


@command(
    "PUBSUB HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    since="6.2.0",
    group="pubsub",
    complexity="O(1)",
)
def pubsub_help(call: Call) -> list[Simple]:
    return help_reply("PUBSUB", HELP)


@command(
    "PUBSUB NUMPAT",
    "",
    "Returns a count of unique pattern subscriptions.",
    arity=2,
    flags=ASKING,
    since="2.8.0",
    group="pubsub",
    complexity="O(1)",
)
def numpat(call: Call) -> int:
    return len(call.server.observers.pubsub.patterns.by_name)


@command(
    "PUBSUB NUMSUB",
    "[channel...]",
    "Returns a count of subscribers to channels.",
    arity=-2,
    flags=ASKING,
    since="2.8.0",
    group="pubsub",
    complexity="O(N) for the NUMSUB subcommand, where N is the number of requested channels",
)
def numsub(call: Call) -> list[bytes | int]:
    return counted(call.server.observers.pubsub.channels, call.argv[2:])


@command(
    "PUBSUB SHARDCHANNELS",
    "[pattern:pattern]",
    "Returns the active shard channels.",
    arity=-2,
    flags=ASKING,
    since="7.0.0",
    group="pubsub",
    complexity=(
        "O(N) where N is the number of active shard channels, and assuming constant time pattern "
        "matching (relatively short shard channels)."
    ),
)
def shardchannels(call: Call) -> list[bytes]:
    if len(call.argv) > 3:
        raise subcommand_syntax(call.argv)
    return listened_to(call.server.observers.pubsub.shard_channels, call.argv[2:])


@command(
    "PUBSUB SHARDNUMSUB",
    "[shardchannel...]",
    "Returns the count of subscribers of shard channels.",
    arity=-2,
    flags=ASKING,
    since="7.0.0",
    group="pubsub",
    complexity=(
        "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels"
    ),
)
def shardnumsub(call: Call) -> list[bytes | int]:
    return counted(call.server.observers.pubsub.shard_channels, call.argv[2:])


HELP = (
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
)
