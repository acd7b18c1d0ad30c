"""The tests of any Twisted protocol over a session."""
