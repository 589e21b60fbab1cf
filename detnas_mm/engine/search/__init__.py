"""A search: settings, constraint, header, results, progress."""
