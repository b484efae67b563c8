"""A model hub on this machine: it speaks as much of the real one's protocol as the real client needs to send files."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Hub:
    """What it was sent.

    Attributes:
        address: Where it listens.
        token: The token that it lets write.
        requests: The paths that were asked for, in order.
        created: The repositories that it was told to create, as it was told.
        cards: The model cards whose front matter it was asked about.
        files: The content of the files that were committed, by repository and path.
        agents: How the client called itself.
    """

    address: str = ""
    token: str = "right"
    requests: list[str] = field(default_factory=list)
    created: list[dict[str, object]] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    agents: set[str] = field(default_factory=set)

    def answer(self, path: str, body: bytes) -> dict[str, object]:
        """Take a request, and give what the real hub would."""
        repository = "/".join(path.split("/")[3:5])
        if path.startswith("/api/repos/create"):
            self.created.append(json.loads(body))
            made = self.created[-1]
            return {"url": f"{self.address}/{made['organization']}/{made['name']}"}
        if path.startswith("/api/validate-yaml"):
            self.cards.append(json.loads(body)["content"])
            return {"errors": [], "warnings": []}
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            return {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        lines = [json.loads(line) for line in body.splitlines()]
        sent = [line["value"] for line in lines if line["key"] == "file"]
        self.files[repository] = {one["path"]: base64.b64decode(one["content"]) for one in sent}
        where = f"{self.address}/{repository}/commit/main"
        return {"commitUrl": where, "commitOid": "0" * 40, "pullRequestUrl": None}


@contextmanager
def model_hub() -> Iterator[Hub]:
    """Yield a hub that listens."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hub.requests.append(self.path)
            hub.agents.add(str(self.headers["User-Agent"]))
            body = self.rfile.read(int(self.headers["Content-Length"]))
            allowed = self.headers["Authorization"] == f"Bearer {hub.token}"
            data = json.dumps(hub.answer(self.path, body) if allowed else {"error": "Invalid token"}).encode()
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()
