"""What the server counts, for INFO and CONFIG RESETSTAT.

Plain numbers: the loop adds to them, INFO reads them, nobody else needs them. Commands are counted
by the kernel, figures of the log and the store kept by the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final

ERROR_KINDS_MAX: Final = 128
RATE_WINDOW_MS: Final = 1000


@dataclass(slots=True)
class ServerStats:
    """Counters since the start or the last CONFIG RESETSTAT."""

    total_connections_received: int = 0
    total_commands_processed: int = 0
    total_net_input_bytes: int = 0
    total_net_output_bytes: int = 0
    rejected_connections: int = 0
    expired_keys: int = 0
    keyspace_hits: int = 0
    keyspace_misses: int = 0
    total_error_replies: int = 0
    unexpected_error_replies: int = 0
    total_reads_processed: int = 0
    total_writes_processed: int = 0
    client_query_buffer_limit_disconnections: int = 0
    client_output_buffer_limit_disconnections: int = 0
    eventloop_cycles: int = 0
    acl_access_denied_auth: int = 0
    errors: dict[bytes, int] = field(default_factory=dict)
    """By the first word of the error."""
    rate_from: tuple[int, int] = (0, 0)
    """When a rate was last begun, and the commands executed until then."""
    rate_per_s: int = 0

    def count_error(self, line: bytes) -> None:
        """An error reply that was sent, given without its ``-``."""
        self.total_error_replies += 1
        code = line.partition(b" ")[0]
        if code in self.errors or len(self.errors) < ERROR_KINDS_MAX:
            self.errors[code] = self.errors.get(code, 0) + 1

    def commands_per_s(self, now_ms: int) -> int:
        """Commands a second since this was last asked, a second ago or longer."""
        began_ms, executed = self.rate_from
        elapsed_ms = now_ms - began_ms
        if elapsed_ms >= RATE_WINDOW_MS:
            done = self.total_commands_processed - executed
            self.rate_per_s = done * 1000 // elapsed_ms if began_ms else 0
            self.rate_from = (now_ms, self.total_commands_processed)
        return self.rate_per_s

    def reset(self) -> None:
        """Begin again from nothing."""
        fresh = ServerStats()
        for one in fields(fresh):
            setattr(self, one.name, getattr(fresh, one.name))
