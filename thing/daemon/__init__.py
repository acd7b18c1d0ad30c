"""
``twistd thing``: its options, its services, its logs.

Lower rooms are put together here as the options say. What concerns the process as a whole,
such as signals and systemd, is handled here, for ``thing agent``, too, and known nowhere else.

Any lower room may be touched from here. What a session does, who may have one, and what is told
of it is decided there and never here: an option says which part is taken, and a part knows no
option.
"""
