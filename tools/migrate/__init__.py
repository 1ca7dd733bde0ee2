"""``respq migrate``: streams from Redis, Valkey, another respq or a file, and back.

Modules, from below: ``errors``, ``link`` (a connection), ``values`` (what is carried), ``target``
(writing it), ``checkpoint`` (how far the target is), ``proof`` (what is there against what comes),
``loader`` (a key of a snapshot); ``psync`` (acting as a replica), ``apply`` (the commands that a
replica is sent), ``follow``, ``takeover``; ``heads``, ``scan``; ``files``, ``aof``, ``jsonl``;
``cluster``, ``source`` (which of them), ``plan``, ``verify``, ``back``, ``progress``, ``command``.
"""
