"""The documentation site builds without a warning, and fetches nothing from other hosts."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FETCHED = re.compile(
    r'<(?:script|img|iframe|link[^>]+rel="(?:stylesheet|icon)")[^>]+(?:src|href)="((?:https?:)?//[^"]+)'
)


def test_the_rule_sees_what_is_fetched() -> None:
    html = '<script src="https://a/x.js"></script><link rel="stylesheet" href="//b/x.css"><a href="https://c">c</a>'
    assert FETCHED.findall(html) == ["https://a/x.js", "//b/x.css"]


def test_the_site_builds_and_fetches_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text("utf-8") for path in tmp_path.rglob("*.html")}
    assert {"index.html", "guide.html", "api/losses.html", "CONTRIBUTING.html"} <= set(pages)
    assert {name: found for name, text in pages.items() if (found := FETCHED.findall(text))} == {}
    assert "dmx.losses.silog" in pages["api/losses.html"]
