"""Texts without passwords and tokens."""

import os
import re

ENVIRONMENT = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY")
USER = re.compile(r"(?<=://)(?:[^/\s:@'\"]*:(?!\d+/)[^\s'\"]*|[^/\s'\"]+)@")
"""The user in an address: `name:password@` or `token@`; a password may have a slash that should have been escaped."""


def without_secrets(text: str) -> str:
    """The text with `***` in place of names and passwords in addresses, and of those that MLflow takes from outside.

    >>> without_secrets("no answer from https://me:geheim@tracking.lab/api")
    'no answer from https://***@tracking.lab/api'
    """
    for name in ENVIRONMENT:
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    return USER.sub("***@", text)
