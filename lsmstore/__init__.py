"""The store: log, segments, state rows and manifest. It knows no streams and no event loop."""
