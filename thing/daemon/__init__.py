"""
``twistd thing``: its options, its services, its logs.

Lower rooms are put together here as the options say. What concerns the process as a whole,
such as signals and systemd, is handled here, for ``thing agent``, too, and known nowhere else.
"""
