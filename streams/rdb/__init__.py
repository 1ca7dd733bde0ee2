"""Redis' RDB format: payloads of DUMP, and whole files, of which streams and strings are read.

Modules, from below: ``crc64`` and ``lzf``; ``reader`` and ``writer`` (lengths, strings, numbers);
``heads`` (what a stream is beside its entries, as plain data); ``streamreader`` and
``streamwriter`` (streams of types 15, 19 and 21, reading 26 and 27, too); ``payload`` (DUMP and
RESTORE); ``headwriter`` (a stream's head alone, type 27); ``skipping`` and ``file`` (a whole file,
value by value, with little memory).

Nothing here knows of a server or a store; streams/restore.py makes a stream of what is read.
"""
