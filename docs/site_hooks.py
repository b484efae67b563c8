"""Pages of the site that lie in the root of the project: README as its first page, CONTRIBUTING and CHANGELOG."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md"}
TEXTS = {"LICENSE": "licence.txt", "CITATION.cff": "citation.cff.txt"}


def on_files(files: Files, config: Any) -> Files:
    """Add them; their links lead to the site's pages."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        for name, place in TEXTS.items():
            text = re.sub(rf"\]\({re.escape(name)}\)", f"]({place})", text)
        files.append(File.generated(config, page, content=text))
    for name, place in TEXTS.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    return files
