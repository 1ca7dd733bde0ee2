"""Where the two voices differ, which of them respq follows, and why.

The first voice is redis-server 8.2.3, the second 7.0.15; respq answers as the version that it
presents, which is that of the first voice wherever a voice is asked.
* `VOICES`: every step of the transcripts that the two answer differently; `test_voices.py` proves
  the table complete and free of idle rows. ` #2` is the second occurrence of a step in its case.
* `CORRECTED`: the steps where 8.2.3 has a defect that a later version does not have.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Voice:
    follows: str  # the version respq follows
    why: str
    steps: dict[str, list[str]]  # case -> steps


_BLOCKING = "a[info:blocked_clients,total_blocking_keys,total_blocking_keys_on_nokey]> INFO clients"

VOICES = (
    Voice(
        "8.2.3",
        "total_blocking_keys and total_blocking_keys_on_nokey came with 7.2.",
        {
            "server/INFO counts those who wait, by key": [
                _BLOCKING,
                f"{_BLOCKING} #2",
                f"{_BLOCKING} #3",
                f"{_BLOCKING} #4",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "CLIENT SETINFO and the fields lib-name, lib-ver came with 7.2, `watch` in CLIENT"
        " LIST with 7.4.",
        {
            "connection/CLIENT SETINFO": [
                "a> CLIENT SETINFO LIB-NAME redis-py",
                "a> CLIENT SETINFO lib-ver 8.1.0",
                'a> CLIENT SETINFO LIB-NAME "redis-py(django)"',
                'a> CLIENT SETINFO LIB-NAME "bad name"',
                'a> CLIENT SETINFO LIB-VER "bad\\nname"',
                "a> CLIENT SETINFO LIB-FOO x",
                "a> CLIENT SETINFO LIB-NAME",
                "a> CLIENT SETINFO",
                "a[client]> CLIENT LIST ID {a.id}",
                'a> CLIENT SETINFO LIB-NAME ""',
                "a[client]> CLIENT INFO",
            ],
            "connection/CLIENT LIST": [
                "a[client]> CLIENT LIST ID {a.id} {b.id} {c.id}",
                "a[client]> CLIENT LIST ID {b.id}",
                "a[client]> CLIENT LIST ID {b.id} {b.id}",
                "a[client]> CLIENT INFO",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "7.2 and 7.4 brought fields of CLIENT LIST and INFO that tell of transactions.",
        {
            "pubsub/subscribing": [
                "b> PUBSUB HELP",
                "b[client]> CLIENT LIST ID {a.id}",
                "b[client]> CLIENT LIST ID {a.id} #2",
                "b[client]> CLIENT LIST TYPE pubsub",
                "b[info:pubsub_clients]> INFO clients",
            ],
            "transactions/CLIENT LIST shows transactions": [
                "b[client]> CLIENT LIST ID {a.id}",
                "b[client]> CLIENT LIST ID {a.id} #2",
                "b[client]> CLIENT LIST ID {a.id} #3",
                "b[client]> CLIENT LIST ID {a.id} #4",
                "b[client]> CLIENT LIST ID {a.id} #5",
                "b[info:watching_clients,total_watched_keys]> INFO clients",
                "b[info:watching_clients,total_watched_keys]> INFO clients #2",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "Since 7.2 messages to the client that runs a transaction stand behind its reply.",
        {
            "pubsub/within a transaction": [
                "a> EXEC",
                "a~",
                "a~ #2",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "CLIENT KILL MAXAGE came with 7.4.",
        {
            "connection/CLIENT KILL": [
                "a> CLIENT KILL ID {f.id} MAXAGE 100000",
                "a> CLIENT KILL MAXAGE x",
                "a> CLIENT KILL MAXAGE 0",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "`subexpiry` in INFO keyspace came with 7.4.",
        {
            "server/INFO": [
                "a[info:db0]> INFO keyspace",
                "a[info:db0,db2]> INFO keyspace",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "A negative cursor was taken for 2^64-1 before it was refused; no client sends one.",
        {
            "keys/SCAN finds everything": [
                "a> SCAN -1",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "`+` in XREAD, and its refusal in XREADGROUP, came with 7.4.",
        {
            "blocking/the last entry is waited for by plus": [
                "a> XREAD BLOCK 0 STREAMS s +",
                "a<",
                "a> XREAD BLOCK 0 STREAMS s t + $",
            ],
            "traps/plus of XREAD is the last live entry and blocks on an empty stream": [
                "a> XREAD COUNT 10 STREAMS s +",
                "a> XREAD STREAMS s +",
                "b> XREAD BLOCK 0 STREAMS s +",
                "b<",
            ],
            "traps/dollar and plus mean nothing to a group": [
                "a> XREADGROUP GROUP g c STREAMS s +",
            ],
            "xread/the last entry by plus": [
                "a> XREAD STREAMS s +",
                "a> XREAD COUNT 5 STREAMS s +",
                "a> XREAD COUNT 0 STREAMS s +",
                "a> XREAD STREAMS s s + 0",
                "a> XREAD STREAMS s + #2",
                "a> XREAD STREAMS s + #3",
                "a> XREAD STREAMS missing +",
                "a> XREAD STREAMS missing s + +",
                "a[wait]> XREAD BLOCK 1 STREAMS s +",
            ],
            "xread/what is there does not block": [
                "a> XREAD BLOCK 0 STREAMS s +",
            ],
            "xreadgroup/refusals": [
                "a> XREADGROUP GROUP g c STREAMS s +",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "7.4 names the command in this refusal.",
        {
            "xread/refusals": [
                "a> XREAD STREAMS s t 0",
                "a> XREAD STREAMS s 0 t",
                "a> XREAD STREAMS s t u 0 0",
                "a> XREAD COUNT 1 STREAMS s",
            ],
            "xreadgroup/refusals": [
                "a> XREADGROUP GROUP g c COUNT 1 STREAMS s",
                "a> XREADGROUP GROUP g c STREAMS s t >",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "Since 7.2 a woken client runs its command again, and the words are those of that command.",
        {
            "blocking/a destroyed group": [
                "a<",
            ],
            "blocking/a deleted key": [
                "a<",
            ],
            "blocking/one of two keys deleted": [
                "a<",
            ],
            "blocking/FLUSHALL": [
                "a<",
            ],
            "blocking/FLUSHDB": [
                "a<",
            ],
            "blocking/a key that becomes another type": [
                "a<",
            ],
            "server/INFO counts those who wait, by key": [
                "c<",
            ],
            "blocking/a key deleted and made again at once": [
                "a<",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "7.0 woke readers with an empty list of entries when the new entry was trimmed "
        "away at once; since 7.2 they stay blocked.",
        {
            "blocking/an entry that the trim of its own command takes away wakes nobody": [
                "a?",
                "b?",
                "a<",
                "b<",
            ],
            "transactions/a transaction wakes those who wait behind it": [
                "b?",
                "c?",
                "b<",
                "c<",
            ],
            "traps/a stream that ran dry leaves the client waiting": [
                "b?",
                "c?",
                "b? #2",
                "c? #2",
                "b<",
                "c<",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "Since 7.2 the command runs again as a whole, so a key named twice is answered twice.",
        {
            "blocking/the same key twice": [
                "a<",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "7.0 leaked a stale errno into the refusal of an exhausted sequence; a defect, "
        "corrected since.",
        {
            "xadd/a sequence is exhausted within its millisecond": [
                "a> XADD s 7-* f v",
            ],
            "xadd/ids that C reads as numbers": [
                'a> XADD s "007-*" f v',
            ],
        },
    ),
    Voice(
        "8.2.3",
        "One word of the help text.",
        {
            "xgroup/unknown subcommands": [
                "a> XGROUP HELP",
            ],
            "xinfo/refusals": [
                "a> XINFO HELP",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "entries-read and lag were wrong in 7.0 behind a trim (redis#13338, #13957); "
        "corrected in 7.2.6 and later.",
        {
            "xinfo/lag and trims": [
                "a> XINFO GROUPS s",
                "a> XINFO GROUPS s #2",
                "a> XINFO GROUPS s #3",
                "a> XINFO GROUPS s #4",
                "a> XINFO GROUPS s #5",
            ],
            "xreadgroup/a group behind a trim": [
                "a> XINFO GROUPS s",
                "a> XINFO GROUPS s #2",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "ENTRIESREAD beyond entries-added gave a negative lag; clamped since 8.2.2, a correction.",
        {
            "xgroup/CREATE with options in any order": [
                "a> XINFO GROUPS s",
            ],
            "xgroup/ENTRIESREAD beyond the entries added": [
                "a> XINFO GROUPS s",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "7.2 brought inactive and active-time, made idle the time since any attempt, and "
        "makes the consumer even when nothing is read.",
        {
            "blocking/group readers and plain readers of one stream": [
                "e> XINFO GROUPS s",
            ],
            "blocking/one of two keys deleted": [
                "b> XINFO GROUPS s",
            ],
            "traps/seen is any attempt and active is a success": [
                "a> XINFO CONSUMERS s g",
                "a> XINFO CONSUMERS s g #2",
            ],
            "xautoclaim/all in one go": [
                "a> XINFO CONSUMERS s g",
            ],
            "xautoclaim/the consumer is made even when nothing is claimed": [
                "a> XINFO CONSUMERS s g",
            ],
            "xclaim/claiming": [
                "a> XINFO CONSUMERS s g",
            ],
            "moves/COPY of a stream": [
                "a> XINFO STREAM t FULL COUNT 0",
            ],
            "xclaim/IDLE, TIME, RETRYCOUNT": [
                "a> XINFO STREAM s FULL",
            ],
            "xclaim/times in the future and before all time": [
                "a> XINFO STREAM s FULL",
            ],
            "xclaim/a deleted entry leaves the pending list": [
                "a> XINFO CONSUMERS s g",
            ],
            "xclaim/LASTID raises the group": [
                "a> XINFO GROUPS s",
            ],
            "xclaim/the consumer is made even when nothing is claimed": [
                "a> XINFO CONSUMERS s g",
                "a> XINFO CONSUMERS s g #2",
            ],
            "xclaim/seen and active": [
                "a> XINFO CONSUMERS s g",
                "a> XINFO CONSUMERS s g #2",
            ],
            "xclaim/refusals": [
                "a> XINFO CONSUMERS s g",
            ],
            "xgroup/CREATECONSUMER and DELCONSUMER": [
                "a> XINFO CONSUMERS s g",
            ],
            "xgroup/groups are listed by name": [
                "a> XINFO CONSUMERS s a",
            ],
            "xinfo/STREAM FULL": [
                "a> XINFO STREAM s FULL #2",
                "a> XINFO STREAM s FULL COUNT 2",
                "a> XINFO STREAM s full count 0",
                "a> XINFO STREAM s FULL COUNT 1",
                "a> XINFO STREAM s FULL COUNT -1",
                "a> XINFO STREAM s FULL COUNT 3",
            ],
            "xinfo/GROUPS and CONSUMERS": [
                "a> XINFO GROUPS s #2",
                "a> XINFO CONSUMERS s g #2",
            ],
            "xinfo/seen and active times": [
                "a> XINFO CONSUMERS s g",
                "a> XINFO CONSUMERS s g #2",
                "a> XINFO STREAM s FULL",
            ],
            "xreadgroup/new entries and the pending list": [
                "a> XINFO CONSUMERS s g",
            ],
            "xreadgroup/the history is one's own and always answered": [
                "a> XINFO CONSUMERS s g",
            ],
            "xreadgroup/the consumer is made even when nothing is read": [
                "a> XINFO CONSUMERS s g",
                "a> XINFO CONSUMERS s g #2",
                "a> XINFO CONSUMERS s g #3",
                "a> XINFO GROUPS s",
            ],
            "xreadgroup/NOACK keeps no pending entry and moves the group": [
                "a> XINFO CONSUMERS s g",
            ],
            "xreadgroup/after SETID back an entry moves to the new reader with its count anew": [
                "a> XINFO STREAM s FULL",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "7.0.15 takes an XSETID below the largest deleted ID, 8.2.3 refuses it.",
        {
            "xdel/XSETID moves the last id": [
                "a> XSETID s 10-5 #3",
            ],
            "xdel/refusals of XSETID": [
                "a> XSETID s 8-0",
                "a> XSETID s 8-0 MAXDELETEDID 7-0",
                "a> XINFO STREAM s",
            ],
            "xdel/XSETID of an empty stream": [
                "a> XSETID s 1-1 #2",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "7.0 answered a command without keys that is shorter than its key specification "
        "with an arity error.",
        {
            "server/COMMAND GETKEYS": [
                "a> COMMAND GETKEYS PING",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "7.0 let the deadline overflow; since 7.2 it is refused.",
        {
            "xread/a block beyond all time": [
                "a> XREAD BLOCK 9223372036854775807 STREAMS s $",
            ],
        },
    ),
    Voice(
        "8.2.3",
        "A blocked command is run again since 7.2 when its stream goes away, and says so in its "
        "own words.",
        {
            "moves/who waits for a stream that is renamed": ["b<"],
            "moves/who waits for a stream that others are renamed over": ["c<"],
            "moves/who waits while databases are swapped": ["b<"],
            "moves/who waits while a key moves to another database": ["b<"],
            "moves/who waits for a key that others are copied over": ["c<"],
        },
    ),
    Voice(
        "8.2.3",
        "OBJECT HELP and MEMORY HELP were reworded; SCAN knows NOVALUES, to refuse it, since 7.4.",
        {
            "moves/TOUCH, RANDOMKEY, OBJECT": ["a> OBJECT HELP", "a> SCAN 0 NOVALUES"],
            "moves/MEMORY": ["a> MEMORY HELP"],
        },
    ),
    Voice(
        "8.2.3",
        "Small numbers are shared no more, so each key is the only one that refers to its own.",
        {
            "strings/OBJECT ENCODING of strings": ["a> OBJECT REFCOUNT k"],
        },
    ),
)

# case -> step -> the reply that a later Redis gives where 8.2.3 is wrong, and respq too.
CORRECTED: dict[str, dict[str, str]] = {
    # 8.2.3 goes on holding entries for a group that was destroyed while it was the lowest
    # (redis#14552, corrected in 8.4).
    "references/a group that goes holds nothing back": {
        "a> XDELEX s ACKED IDS 2 2-0 3-0": "[:1 :1]",
        "a> XTRIM s MAXLEN 2 ACKED": ":2",
    },
    # With `~`, DELREF and ACKED delete nothing in 8.2.3 (redis#14656, corrected in 8.4.4 and 8.6).
    "references/approximate trims with ACKED or DELREF look at the entries of whole nodes": {
        "a> XTRIM s MAXLEN ~ 7 ACKED": ":3",
        "a> XTRIM s MINID ~ 7 DELREF": ":3",
    },
    # 8.2.3 takes the name of a group for the word STREAMS (redis#15478, corrected in 8.2.9).
    "xreadgroup/a group and a consumer may be called STREAMS": {
        "a> COMMAND GETKEYS XREADGROUP COUNT 1 GROUP STREAMS STREAMS STREAMS s t > >": '["s" "t"]',
    },
}
