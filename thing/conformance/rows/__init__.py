"""The rows: every check that there is, by what it is about."""
