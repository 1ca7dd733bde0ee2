"""What a stream, a group and a pending entry are. Synchronous; time is an argument."""
