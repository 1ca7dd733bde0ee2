"""The respq command line."""
