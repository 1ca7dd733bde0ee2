"""CLUSTER and what else is for clients of a cluster: refused, since this node is in none.

They stand in the table so that clients which ask find out by Redis' own words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from respserver.errors import ReplyError
from respserver.spec import (
    ADMIN,
    FAST,
    LOADING,
    NO_ASYNC_LOADING,
    NOSCRIPT,
    STALE,
    command,
    declare,
)

if TYPE_CHECKING:
    from respserver.call import Call

DISABLED = b"ERR This instance has cluster support disabled"
CHANGES = ADMIN | NO_ASYNC_LOADING | STALE
VARIES = ("nondeterministic_output",)
NODES = "O(N) where N is the total number of Cluster nodes"
SLOTS = "O(N) where N is the total number of hash slot arguments"
RANGES = (
    "O(N) where N is the total number of the slots between the start slot and end slot arguments."
)

FLUSHES = (
    "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side "
    "effect."
)
STATS = (
    "O(N) where N is the total number of slots based on arguments. O(N*log(N)) with ORDERBY "
    "subcommand."
)
STATS_FILTER = (
    "filter=<SLOTSRANGE slotsrange={start-slot:integer end-slot:integer} | "
    "ORDERBY orderby={metric [LIMIT limit:integer] order=[ASC | DESC]}>"
)
SETSLOT = (
    "slot:integer subcommand=<IMPORTING importing(node-id) | MIGRATING migrating(node-id) | "
    "NODE node(node-id) | STABLE>"
)


def refuse(call: Call) -> NoReturn:
    """There is no cluster."""
    raise ReplyError(DISABLED)


declare(
    "CLUSTER",
    "",
    "A container for Redis Cluster commands.",
    arity=-2,
    since="3.0.0",
    group="cluster",
    complexity="Depends on subcommand.",
)

# name, syntax, summary, arity, flags, since, complexity, tips
for _name, _syntax, _summary, _arity, _flags, _since, _complexity, _tips in (
    ("ADDSLOTS", "slot:integer...", "Assigns new hash slots to a node.",
     -3, CHANGES, "3.0.0", SLOTS, ()),
    ("ADDSLOTSRANGE", "range={start-slot:integer end-slot:integer}...",
     "Assigns new hash slot ranges to a node.", -4, CHANGES, "7.0.0", RANGES, ()),
    ("BUMPEPOCH", "", "Advances the cluster config epoch.", 2, CHANGES, "3.0.0", "O(1)", VARIES),
    ("COUNT-FAILURE-REPORTS", "node-id",
     "Returns the number of active failure reports active for a node.",
     3, ADMIN | STALE, "3.0.0", "O(N) where N is the number of failure reports", VARIES),
    ("COUNTKEYSINSLOT", "slot:integer", "Returns the number of keys in a hash slot.",
     3, STALE, "3.0.0", "O(1)", ()),
    ("DELSLOTS", "slot:integer...", "Sets hash slots as unbound for a node.",
     -3, CHANGES, "3.0.0", SLOTS, ()),
    ("DELSLOTSRANGE", "range={start-slot:integer end-slot:integer}...",
     "Sets hash slot ranges as unbound for a node.", -4, CHANGES, "7.0.0", RANGES, ()),
    ("FAILOVER", "options=[FORCE | TAKEOVER]",
     "Forces a replica to perform a manual failover of its master.",
     -2, CHANGES, "3.0.0", "O(1)", ()),
    ("FLUSHSLOTS", "", "Deletes all slots information from a node.",
     2, CHANGES, "3.0.0", "O(1)", ()),
    ("FORGET", "node-id", "Removes a node from the nodes table.", 3, CHANGES, "3.0.0", "O(1)", ()),
    ("GETKEYSINSLOT", "slot:integer count:integer", "Returns the key names in a hash slot.",
     4, STALE, "3.0.0", "O(N) where N is the number of requested keys", VARIES),
    ("HELP", "", "Returns helpful text about the different subcommands.",
     2, LOADING | STALE, "5.0.0", "O(1)", ()),
    ("INFO", "", "Returns information about the state of a node.",
     2, STALE, "3.0.0", "O(1)", VARIES),
    ("KEYSLOT", "key:string", "Returns the hash slot for a key.",
     3, STALE, "3.0.0", "O(N) where N is the number of bytes in the key", ()),
    ("LINKS", "", "Returns a list of all TCP links to and from peer nodes.",
     2, STALE, "7.0.0", NODES, VARIES),
    ("MYID", "", "Returns the ID of a node.", 2, STALE, "3.0.0", "O(1)", ()),
    ("MYSHARDID", "", "Returns the shard ID of a node.", 2, STALE, "7.2.0", "O(1)", VARIES),
    ("NODES", "", "Returns the cluster configuration for a node.",
     2, STALE, "3.0.0", NODES, VARIES),
    ("REPLICAS", "node-id", "Lists the replica nodes of a master node.",
     3, ADMIN | STALE, "5.0.0", "O(N) where N is the number of replicas.", VARIES),
    ("REPLICATE", "node-id", "Configure a node as replica of a master node.",
     3, CHANGES, "3.0.0", "O(1)", ()),
    ("RESET", "reset-type=[HARD | SOFT]", "Resets a node.",
     -2, ADMIN | NOSCRIPT | STALE, "3.0.0",
     FLUSHES, ()),
    ("SAVECONFIG", "", "Forces a node to save the cluster configuration to disk.",
     2, CHANGES, "3.0.0", "O(1)", ()),
    ("SET-CONFIG-EPOCH", "config-epoch:integer",
     "Sets the configuration epoch for a new node.", 3, CHANGES, "3.0.0", "O(1)", ()),
    ("SETSLOT",
     SETSLOT,
     "Binds a hash slot to a node.", -4, CHANGES, "3.0.0", "O(1)", ()),
    ("SHARDS", "", "Returns the mapping of cluster slots to shards.", 2, LOADING | STALE, "7.0.0",
     "O(N) where N is the total number of cluster nodes", VARIES),
    ("SLOT-STATS",
     STATS_FILTER,
     "Return an array of slot usage statistics for slots assigned to the current node.",
     -4, LOADING | STALE, "8.2.0",
     STATS, (*VARIES, "request_policy:all_shards")),
):  # fmt: skip
    declare(
        f"CLUSTER {_name}",
        _syntax,
        _summary,
        arity=_arity,
        flags=_flags,
        since=_since,
        group="cluster",
        complexity=_complexity,
        tips=_tips,
        handler=refuse,
    )

declare(
    "CLUSTER MEET",
    "ip port:integer [cluster-bus-port:integer@4.0.0]",
    "Forces a node to handshake with another node.",
    arity=-4,
    flags=CHANGES,
    since="3.0.0",
    group="cluster",
    complexity="O(1)",
    history=(("4.0.0", "Added the optional `cluster_bus_port` argument."),),
    handler=refuse,
)
declare(
    "CLUSTER SLAVES",
    "node-id",
    "Lists the replica nodes of a master node.",
    arity=3,
    flags=ADMIN | STALE,
    since="3.0.0",
    group="cluster",
    complexity="O(N) where N is the number of replicas.",
    tips=VARIES,
    doc_flags=("deprecated",),
    deprecated_since="5.0.0",
    replaced_by="`CLUSTER REPLICAS`",
    handler=refuse,
)
declare(
    "CLUSTER SLOTS",
    "",
    "Returns the mapping of cluster slots to nodes.",
    arity=2,
    flags=LOADING | STALE,
    since="3.0.0",
    group="cluster",
    complexity=NODES,
    history=(
        ("4.0.0", "Added node IDs."),
        ("7.0.0", "Added additional networking metadata field."),
    ),
    tips=VARIES,
    doc_flags=("deprecated",),
    deprecated_since="7.0.0",
    replaced_by="`CLUSTER SHARDS`",
    handler=refuse,
)


@command(
    "ASKING",
    "",
    "Signals that a cluster client is following an -ASK redirect.",
    arity=1,
    flags=FAST,
    acl="connection",
    since="3.0.0",
    group="cluster",
    complexity="O(1)",
)
def asking(call: Call) -> NoReturn:
    refuse(call)


@command(
    "READONLY",
    "",
    "Enables read-only queries for a connection to a Redis Cluster replica node.",
    arity=1,
    flags=FAST | LOADING | STALE,
    acl="connection",
    since="3.0.0",
    group="cluster",
    complexity="O(1)",
)
def readonly(call: Call) -> NoReturn:
    refuse(call)


@command(
    "READWRITE",
    "",
    "Enables read-write queries for a connection to a Reids Cluster replica node.",
    arity=1,
    flags=FAST | LOADING | STALE,
    acl="connection",
    since="3.0.0",
    group="cluster",
    complexity="O(1)",
)
def readwrite(call: Call) -> NoReturn:
    refuse(call)
