"""``respq bench``: respq beside redis-server, row by row, under load from a compiled generator."""
