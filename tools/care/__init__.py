"""The care of a store: check, repair, inspect, backup, restore."""
