"""Removal of passwords and tokens from texts."""

import os
import re

ENVIRONMENT = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY")
USER = re.compile(r"(?<=://)(?:[^/\s:@'\"]*:(?!\d+/)[^\s'\"]*|[^/\s'\"]+)@")
"""The user part of a URL: `name:password@` or `token@`; a password may have an unescaped slash."""


def without_secrets(text: str) -> str:
    """Replace credentials by `***`: those in URLs, and those that MLflow reads from the environment.

    >>> without_secrets("no answer from https://me:geheim@tracking.lab/api")
    'no answer from https://***@tracking.lab/api'
    """
    for name in ENVIRONMENT:
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    return USER.sub("***@", text)
