"""Where each trap of Redis streams has its test.

What every implementation of streams has got wrong at some time, in the order of the subject. On the
right the tests that would fail: ``file/name of the case`` of a transcript, or ``file.py::test``.
"""

from __future__ import annotations

import ast
import functools
import pathlib

import pytest

import respserver.commands
from respserver.spec import TABLE
from tests.differential.transcript import load_all

assert respserver.commands

HERE = pathlib.Path(__file__).parent
IDMP = "respserver/test_idmp.py::test_"
CLAIM = "sim/test_claim.py::test_"
FAKE = "sim/test_against_fakeredis.py::"
BAD = "sim/test_bad_input.py::test_"
WAIT = "sim/test_waiting.py::test_"
HOSTILE = "streams/test_rdb_hostile.py::test_"
MACHINE = "sim/test_idle_timeout_machine.py::TestPendingMachine"

TRAPS: dict[str, dict[str, list[str]]] = {
    "IDs and XADD": {
        "a missing sequence is 0 as a start and the last as an end": [
            "traps/a missing sequence is the first as a start and the last as an end",
            "xrange/an incomplete id is the first as a start and the last as an end",
        ],
        "( excludes an end of a range": ["xrange/exclusive ends"],
        "strict IDs are no - and no +, but those of XGROUP SETID": [
            "traps/strict ids have no minus and plus, and XGROUP SETID takes them"
        ],
        "an ID is no longer than 127 bytes": ["traps/an id longer than 127 bytes is none"],
        "an automatic ID carries on from one of the future": [
            "xadd/an automatic id after one of the future carries on from it"
        ],
        "an automatic sequence carries into the milliseconds": [
            "traps/the sequence of an automatic id overflows into the milliseconds"
        ],
        "ms-* picks a sequence, 0-* the first there is": [
            "xadd/zero and a star gives one",
            "xadd/a sequence is exhausted within its millisecond",
        ],
        "0-0 is refused before the key is made": [
            "traps/zero is refused before the key is made, and zero-star is one"
        ],
        "IDs have 64 bits without a sign": ["traps/a large ID in a group, both ends"],
        "a command has one clock": [f"{CLAIM}a_command_has_one_clock"],
        "an empty stream is a live key": [
            "traps/an empty stream is a live key, whichever way it was emptied"
        ],
        "the last generated ID never goes back": ["xdel/the last generated id never goes back"],
        "NOMKSTREAM of a missing key is nil": ["xadd/NOMKSTREAM"],
        "an odd number of fields is refused before any lookup": [
            "traps/an odd field count is a wrong number of arguments before any lookup"
        ],
        "a reference word given twice is an ID, or an error of XTRIM": [
            "refwords/an option of references given twice is an id to XADD and an error to XTRIM"
        ],
    },
    "Trim": {
        "exact unless told": ["traps/exact is the default of trims"],
        "~ drops whole nodes only": [
            "xtrim/whole nodes only",
            "xadd/nodes go whole when the trim is approximate",
        ],
        "nodes follow the settings of the moment": [
            "xtrim/the node boundary uses the setting of the moment",
            "xtrim/the node boundary by bytes",
        ],
        "LIMIT is for ~ only, and 0 is no limit": [
            "traps/LIMIT is for tildes only, and zero is no limit",
            "xadd/LIMIT bounds an approximate trim",
        ],
        "the default limit is a hundred nodes, or ten thousand entries": [
            "xadd/the limit of an approximate trim is a hundred nodes unless told",
            "xtrim/the default limit when nodes have no entry limit is ten thousand",
        ],
        "~ with DELREF or ACKED walks entries (redis#14656)": [
            "refwords/an approximate trim that minds references walks entries, node by node"
        ],
        "MAXLEN with ACKED stops at the limit and passes over what is referenced": [
            "refwords/a trim to a length passes over referenced entries and stops at the limit"
        ],
        "what ~ took away is logged, not that it was asked for": [
            "sim/test_crash.py::test_an_approximate_trim_is_replayed_as_what_it_took_away"
        ],
    },
    "References": {
        "referenced is what is unread by some group or pending": [
            "refwords/referenced is what some group has yet to read or has pending"
        ],
        "without groups nothing is (redis#14769)": [
            "refwords/where there are no groups nothing is referenced"
        ],
        "XDELEX replies -1, 1, 2": ["refwords/XDELEX says of each id what became of it"],
        "-1 of XACKDEL is not pending in this group": [
            "refwords/XACKDEL says that an id is not pending in this group"
        ],
        "DELREF cleans up dangling references": [
            "refwords/DELREF cleans up what refers to entries that are long gone"
        ],
        "XDELEX ACKED of a future ID is 2": [
            "refwords/XDELEX ACKED takes an id that is not there yet for one to be read"
        ],
    },
    "Idempotent production": {
        "only with *, with pid and iid": [
            f"{IDMP}words_that_are_refused",
            f"{IDMP}what_is_no_option_is_read_as_an_id",
        ],
        "a hit replies the first ID, even of a deleted entry": [
            f"{IDMP}a_hit_replies_the_first_id_and_adds_nothing",
            f"{IDMP}a_hit_replies_the_first_id_of_an_entry_that_is_gone",
        ],
        "a hit does not trim and counts as a write": [
            f"{IDMP}a_hit_does_not_trim",
            f"{IDMP}a_hit_counts_as_a_write",
        ],
        "key and producer exist before the check; a refusal leaves none here (redis#15840)": [
            f"{IDMP}a_hit_comes_before_the_end_of_all_ids",
            f"{IDMP}a_refused_call_leaves_no_producer",
            f"{IDMP}nomkstream_makes_neither_key_nor_producer",
        ],
        "IDMPAUTO does not see the order of fields": [
            f"{IDMP}idmpauto_knows_fields_in_any_order",
            f"{IDMP}idmpauto_tells_other_fields_apart",
        ],
        "the ID's time decides, and the sweep, not the lookup": [
            f"{IDMP}the_id_decides_not_the_hour_of_the_call",
            f"{IDMP}until_the_second_is_over_an_expired_iid_is_found",
        ],
        "the oldest leaves first, for each producer": [
            f"{IDMP}the_oldest_iid_of_a_producer_leaves_first",
            f"{IDMP}as_many_as_there_is_room_for_are_known",
        ],
        "XCFGSET forgets only if a value changes": [
            f"{IDMP}xcfgset_with_a_new_value_forgets_everything",
            f"{IDMP}xcfgset_with_the_same_values_forgets_nothing",
            f"{IDMP}xcfgset_refuses",
        ],
        "it survives": [
            f"{IDMP}a_restart_does_not_make_iids_older_or_younger",
            f"{IDMP}xidmprecord_makes_a_later_xadd_a_hit",
        ],
    },
    "Reading": {
        "RESP2 pairs, RESP3 a map, fields flat in both": ["xread/several streams"],
        "nothing to give is a null array": ["connection/a null reply in both protocols"],
        "streams without data are left out, but not from a history read": [
            "traps/streams without data are left out, but not from a history read"
        ],
        "COUNT 0 is a null array of XRANGE and no limit of XREAD": [
            "traps/COUNT zero of XRANGE, XREAD and XREADGROUP"
        ],
        "COUNT is for each stream, MAXCOUNT for the reply": [
            "xread/COUNT is for each stream",
            "limits/MAXCOUNT is for the whole reply and COUNT for each stream",
            f"{CLAIM}maxcount_goes_on_from_stream_to_stream",
        ],
        "MAXCOUNT is not below COUNT": [
            "limits/MAXCOUNT is not below COUNT, unless COUNT is no limit"
        ],
        "MAXSIZE bounds the bytes of the reply": [
            "limits/an entry is given while the bytes before it are fewer than MAXSIZE",
            "limits/MAXSIZE goes on from stream to stream",
            f"{CLAIM}maxsize_counts_the_two_integers",
        ],
        "at least one entry": ["limits/at least one entry is given whatever MAXSIZE says"],
        "entries not sent are not pending": [
            "limits/entries not sent are not pending",
            "limits/the history of a consumer is bounded, too",
            f"{CLAIM}maxcount_counts_what_is_claimed_and_what_is_new",
        ],
        "MAXSIZE counts this command only": [
            "limits/MAXSIZE counts the bytes of this command and not those of a pipeline",
            "limits/MAXSIZE counts the bytes of this command and not those of a transaction",
            f"{CLAIM}maxsize_of_a_reader_that_waits_counts_its_own_reply_only",
        ],
        "limits hold for who waits": [
            "limits/a reader that waits is bounded when it is served",
            f"{CLAIM}who_waits_and_claims_is_bounded_too",
        ],
        "$ is frozen when parsed": [
            "traps/dollar is frozen when the wait begins",
            "blocking/a dollar is the end as it was when the wait began",
        ],
        "+ is the last live entry and waits on an empty stream": [
            "traps/plus of XREAD is the last live entry and blocks on an empty stream"
        ],
        "$ and + mean nothing to a group": ["traps/dollar and plus mean nothing to a group"],
        "plain readers are all served, those of a group in turn": [
            "traps/plain readers are all served, group readers in turn",
            f"{WAIT}readers_of_a_group_are_served_in_the_order_in_which_they_came",
        ],
        "a stream that ran dry leaves the client waiting (redis#5299)": [
            "traps/a stream that ran dry leaves the client waiting",
            f"{WAIT}an_entry_that_a_trim_takes_at_once_wakes_nobody",
        ],
        "keys are found by position": [
            "traps/keys are found by position",
            "xreadgroup/a group and a consumer may be called STREAMS",
        ],
        "options may come before GROUP": ["traps/options may come before GROUP"],
    },
    "XREADGROUP": {
        "a history read never blocks, shows the deleted as nil, counts": [
            "traps/a history read never blocks, shows deleted entries as null and counts",
            f"{FAKE}test_a_history_read_renews_the_time_of_delivery",
        ],
        "after SETID back an entry moves, its count is 1": [
            "traps/an entry delivered again after SETID back starts at one"
        ],
        "the consumer is made even if nothing is read": [
            "xreadgroup/the consumer is made even when nothing is read",
            f"{CLAIM}a_consumer_is_made_and_seen_even_if_nothing_is_due",
        ],
        "seen is any attempt, active a success": [
            "traps/seen is any attempt and active is a success"
        ],
        "NOACK moves the last ID and keeps nothing": [
            "traps/NOACK moves the last id and keeps nothing"
        ],
    },
    "CLAIM": {
        "idle for exactly the time is enough": [
            f"{CLAIM}an_entry_is_claimed_once_it_was_idle_for_exactly_the_time"
        ],
        "released first, in order of release, then the longest idle, then by ID": [
            f"{CLAIM}released_entries_come_first_then_the_longest_idle_and_ids_break_ties",
            f"{CLAIM}an_entry_released_again_goes_to_the_end",
            f"{FAKE}test_released_entries_are_claimed_in_the_order_of_their_release",
            MACHINE,
        ],
        "new entries follow, up to COUNT": [f"{CLAIM}new_entries_follow_up_to_the_count"],
        "every row has four elements, two of them integers": [
            f"{CLAIM}every_row_has_two_integers_more"
        ],
        "deleted entries are passed over and remain pending": [
            f"{CLAIM}deleted_entries_are_passed_over_and_remain_pending",
            f"{CLAIM}deleted_entries_take_nothing_of_the_count",
        ],
        "one call may give an ID twice": [f"{CLAIM}the_same_id_comes_twice_after_setid_back"],
        "with NOACK what is claimed remains pending": [
            f"{CLAIM}noack_keeps_what_is_claimed_and_not_what_is_new"
        ],
        "the history ignores it": [f"{CLAIM}claim_is_ignored_where_the_history_is_asked_for"],
        "who waits is woken when an entry falls due": [
            f"{CLAIM}who_waits_is_woken_when_the_first_entry_falls_due",
            f"{CLAIM}who_waits_is_woken_by_what_becomes_pending_later",
            f"{CLAIM}who_waits_is_woken_by_a_claim_that_makes_an_entry_due",
        ],
        "who waits is woken by a release": [f"{CLAIM}who_waits_is_woken_by_a_release"],
        "what is gone wakes nobody": [
            f"{CLAIM}what_is_gone_wakes_nobody",
            f"{CLAIM}a_release_of_what_is_gone_wakes_nobody",
        ],
        "refusals": [f"{BAD}what_is_refused_changes_nothing"],
    },
    "Pending entries": {
        "XAUTOCLAIM drops, names and counts the deleted": [
            "traps/XAUTOCLAIM drops and names the deleted, which count",
            "xautoclaim/it scans ten times the count and no further",
            "xautoclaim/by pages",
        ],
        "JUSTID never counts": ["traps/JUSTID never counts"],
        "released entries ignore min-idle": [
            "xnack/XCLAIM and XAUTOCLAIM of released entries ask for no idle time",
            f"{CLAIM}released_entries_are_claimed_whatever_idle_time_is_asked_for",
        ],
        "XCLAIM of a deleted entry drops it": ["traps/XCLAIM of a deleted entry drops it"],
        "IDLE and TIME of the future are now": ["traps/idle times of the future are now"],
        "a claim makes the consumer even if it gets nothing": [
            "xclaim/the consumer is made even when nothing is claimed",
            "xautoclaim/the consumer is made even when nothing is claimed",
        ],
        "DELCONSUMER loses its pending entries": ["traps/DELCONSUMER loses its pending entries"],
        "who says 0 and who says NOGROUP": [
            "traps/missing keys and groups, who says zero and who says NOGROUP",
            "xnack/missing keys and groups are NOGROUP",
        ],
    },
    "XNACK": {
        "the modes, and FATAL's count": [
            "xnack/SILENT takes a delivery back, FAIL keeps the count, FATAL leaves none",
            f"{CLAIM}an_entry_without_tries_left_is_claimed_and_its_count_stays",
        ],
        "RETRYCOUNT overrides": ["xnack/RETRYCOUNT says what the count is, whatever the mode"],
        "FORCE makes a row of a live entry": [
            "xnack/FORCE makes a pending entry of an entry that is there"
        ],
        "consumer empty, idle -1, no history": [
            "xnack/released entries are nobody's",
            "xnack/the IDLE filter of XPENDING takes released entries for idle",
        ],
        "nacked-count of XINFO STREAM FULL": ["xnack/XINFO STREAM FULL counts the released"],
        "plain readers do not get them": [
            "xnack/plain readers do not get released entries, and one that waits is not woken"
        ],
        "of a deleted entry": ["xnack/a released entry that is gone from the stream"],
        "refusals": ["xnack/refusals", f"{BAD}what_is_refused_changes_nothing"],
    },
    "Lag": {
        "its rules in order, nil where it is unknown": [
            "traps/lag, in order of its rules",
            "xinfo/lag of groups made in the middle",
            "xinfo/lag after SETID and XSETID",
        ],
        "entries-read on delivery (redis#13957, #13338)": [
            "xinfo/lag and a deleted entry ahead",
            "xinfo/lag and a deleted entry behind",
            "xinfo/lag and trims",
            "xreadgroup/a group behind a trim",
        ],
        "ENTRIESREAD is clamped": ["xgroup/ENTRIESREAD beyond the entries added"],
    },
    "XINFO STREAM": {
        "fields and their order, 8.2": ["xinfo/STREAM", "xinfo/STREAM FULL"],
        "fields and their order, 8.6 and later": [
            f"{IDMP}the_fields_stand_where_redis_has_them",
            "xnack/XINFO STREAM FULL counts the released",
        ],
    },
    "Blocked clients waking": {
        "XGROUP DESTROY": [
            "blocking/a destroyed group",
            f"{WAIT}a_group_that_vanishes_is_an_error_for_its_readers_only",
        ],
        "DEL, FLUSHALL, FLUSHDB": [
            "blocking/a deleted key",
            "blocking/FLUSHALL",
            "blocking/FLUSHDB",
        ],
        "the key becomes another type": ["blocking/a key that becomes another type"],
        "CLIENT UNBLOCK": ["blocking/CLIENT UNBLOCK"],
        "RENAME away wakes the readers of a group": [
            "moves/who waits for a stream that is renamed",
            "moves/who waits for a stream that others are renamed over",
        ],
        "SWAPDB wakes the readers of a group": ["moves/who waits while databases are swapped"],
        "BLOCK in a transaction ends at once": [
            "transactions/blocking within a transaction does not block"
        ],
        "BLOCK in a script ends at once": ["scripting/calls"],
    },
    "Older versions": {
        "8.2.3 knows nothing of 8.4 to 8.10": [
            "later/what 8.2 does not know yet",
            "later/words of 8.4 to 8.10 are none yet",
        ],
        "7.4 knows nothing of 8.2 and later": [
            "later/commands of 8.2",
            "later/reference options of XADD",
            "later/reference options of XTRIM",
            "later/words of 8.4 to 8.10",
        ],
        "each version has its own": [
            "later/8.4 has CLAIM and nothing later",
            "later/8.6.2 has idempotent production and nothing later",
            "later/8.8 has XNACK and nothing later",
        ],
    },
    "Payloads": {
        "a pending row of two consumers, twice, or of nobody": [
            f"{HOSTILE}what_no_redis_writes_is_refused"
        ],
        "a few bytes that claim to be many": [
            f"{HOSTILE}strings_and_nodes_that_claim_to_be_large",
            "sim/test_dump.py::test_what_is_larger_than_the_memory_is_refused_both_ways",
        ],
        "the entries-read of groups and the active-time of consumers have their types": [
            "streams/test_dump_against_redis.py::test_older_types_are_read_as_8_2_reads_them"
        ],
        "a zero is no checksum in files only": [
            "streams/test_rdb_primitives.py::test_footers_that_are_none",
            "streams/test_rdb_file.py::test_a_file_cut_short_or_damaged",
        ],
        "pending rows of deleted entries come along": [
            "streams/test_dump_against_redis.py::test_a_stream_of_8_2_comes_and_goes"
        ],
    },
    "Second opinions": {
        "fakeredis 8.10": [f"{FAKE}test_both_answer_the_same"],
        "what the commands refuse changes nothing": [f"{BAD}what_is_refused_changes_nothing"],
    },
}

OF_ABSENT_COMMANDS = {
    "REPLICAOF": "a primary that becomes a replica ends all waits",
    "CLUSTER MIGRATION": "a slot that leaves ends the waits for its keys: MOVED",
}
"""Traps of commands that respq has not: with the command comes the test."""


@functools.cache
def known_tests() -> set[str]:
    """``file/case`` of the transcripts and ``file.py::name`` of everything else."""
    found = {case.path for case in load_all()}
    for path in HERE.rglob("test_*.py"):
        file = path.relative_to(HERE).as_posix()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(f"{file}::{node.name}")
            elif isinstance(node, ast.Assign):
                found |= {f"{file}::{n.id}" for n in node.targets if isinstance(n, ast.Name)}
    return found


@pytest.mark.parametrize("subject", TRAPS)
def test_every_trap_has_its_tests(subject: str) -> None:
    known = known_tests()
    missing = {trap: lost for trap, names in TRAPS[subject].items() if (lost := set(names) - known)}
    assert not missing
    assert all(TRAPS[subject].values())


def test_every_case_of_the_traps_is_in_the_table() -> None:
    named = {name for traps in TRAPS.values() for names in traps.values() for name in names}
    cases = {case.path for case in load_all() if case.file == "traps"}
    assert cases <= named


def test_traps_of_commands_that_are_not_there_have_no_test() -> None:
    assert b"xadd" in TABLE
    assert not {name for name in OF_ABSENT_COMMANDS if name.lower().encode() in TABLE}
