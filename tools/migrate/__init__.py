"""``respq migrate``: streams from Redis, Valkey, another respq or a file, and back.

Modules, from below: ``errors``, ``wire``, ``link`` (a connection), ``progress``, ``target``
(writing), ``proof`` (what is there against what comes), ``loader`` (a key of a snapshot), ``owner``
(who fills the target); ``psync`` (acting as a replica), ``apply`` (what a replica is sent),
``follow``, ``takeover``; ``pendingpage``, ``heads``, ``scan``; ``files``, ``aof``, ``jsonl``;
``source`` (which of them), ``move``; ``compare``, ``verify``, ``plan``, ``back``, ``command``.
"""
