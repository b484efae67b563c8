"""The sections of the report: each a function from the account to HTML, none knows of another."""
