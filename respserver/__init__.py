"""RESP, the command table, sessions, the tick and its event loop."""
