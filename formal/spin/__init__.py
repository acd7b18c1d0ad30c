"""Models of ends, streams and credit for Spin, made of the tables of states in the code."""
