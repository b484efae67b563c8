"""No password of a tracking server gets out of the process."""

from dmx.tracking.secrets import without_secrets


def test_names_and_passwords_in_addresses_are_gone():
    text = "HTTPConnectionPool: postgresql+psycopg://me:p%40ss@db.lab:5432/dmx and https://token@tracking.lab/api/2.0"
    assert without_secrets(text) == (
        "HTTPConnectionPool: postgresql+psycopg://***@db.lab:5432/dmx and https://***@tracking.lab/api/2.0"
    )


def test_a_password_with_a_slash_or_an_at_sign_is_gone_too():
    assert without_secrets("http://me:a/b@c@host:5000/x y") == "http://***@host:5000/x y"


def test_what_is_no_secret_stays():
    for text in ("file:///home/a@b/mlruns", "http://127.0.0.1:5000/#/x@y", "a @ b", "s3://bucket/key"):
        assert without_secrets(text) == text


def test_a_token_from_outside_is_gone_wherever_it_stands(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc123secret")
    assert without_secrets("401: bad token 'abc123secret'") == "401: bad token '***'"
