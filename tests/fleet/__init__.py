"""The tests of who is here."""
