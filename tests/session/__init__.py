"""The tests of one Connection on the reactor."""
