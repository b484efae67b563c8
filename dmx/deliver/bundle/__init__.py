"""A bundle: one folder with an exported network, what is known about it, and checksums; and its way to a model hub."""
