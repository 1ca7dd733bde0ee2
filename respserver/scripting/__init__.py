"""EVAL: Lua 5.1 scripts in a sandbox. Nothing here is imported before the first script comes."""
