"""``twistd thing``: its options, its services, its logs."""
