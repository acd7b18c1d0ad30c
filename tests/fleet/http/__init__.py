"""The tests of the fleet's HTTP server and its page."""
