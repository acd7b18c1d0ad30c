"""Tests of what examines other implementations: ours pass, and broken ones do not."""
