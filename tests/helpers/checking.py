"""The checker of shapes and types in tests: an int will do where a float is asked for, as in PEP 484."""

from beartype import BeartypeConf, beartype

typecheck = beartype(conf=BeartypeConf(is_pep484_tower=True))
