"""Hash slots and the planner of slots to shards. Imports lsmstore and streams only."""
