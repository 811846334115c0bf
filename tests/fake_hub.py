"""A Hugging Face hub on loopback that holds one dataset: what the hub's own client asks for, and no more."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """The dataset `repo` at `COMMIT`, on branch main; `requests` is what was asked of it."""

    files: dict[str, bytes]
    repo: str = "tester/sums"
    requests: list[str] = field(default_factory=list)
    stall_after: int | None = None  # bytes after which a download waits for ever
    refuses: str | None = None  # answers everybody with 401 and this error code
    gives: str = COMMIT  # the commit that it says it has found, whatever was asked for
    address: str = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_POST(self) -> None:  # paths-info
            asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._note()
            paths = (
                json.loads(asked)["paths"] if asked.startswith(b"{") else re.findall(r"paths=([^&]+)", asked.decode())
            )
            wanted = [unquote(path) for path in paths]
            self._json([_entry(name, hub.files[name]) for name in wanted if name in hub.files])

        def _note(self) -> None:
            hub.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())

        def _answer(self, *, body: bool) -> None:
            self._note()
            if hub.refuses is not None:
                return self._send(401, b"{}", {"X-Error-Code": hub.refuses})
            path = unquote(urlsplit(self.path).path)
            if re.fullmatch(rf"/api/datasets/{hub.repo}(/revision/(main|{COMMIT}))?", path):
                return self._json(
                    {
                        "id": hub.repo,
                        "sha": hub.gives,
                        "private": False,
                        "tags": [],
                        "downloads": 0,
                        "siblings": [{"rfilename": name} for name in hub.files],
                    }
                )
            if found := re.fullmatch(rf"/api/datasets/{hub.repo}/tree/(?:main|{COMMIT})/?(.*)", path):
                return self._json(_tree(hub.files, found[1], recursive="recursive=true" in self.path.lower()))
            if (found := re.fullmatch(rf"/datasets/{hub.repo}/resolve/(?:main|{COMMIT})/(.+)", path)) and found[
                1
            ] in hub.files:
                return self._file(hub.files[found[1]], body=body)
            code = (
                "RevisionNotFound"
                if re.search(f"{hub.repo}/revision/|nowhere", path)
                else "EntryNotFound"
                if hub.repo in path
                else "RepoNotFound"
            )
            self._send(404, b"{}", {"X-Error-Code": code})

        def _file(self, content: bytes, *, body: bool) -> None:
            start = 0
            if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                start = int(asked[1])
            end = int(asked[2]) + 1 if asked and asked[2] else len(content)
            headers = {
                "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
                "X-Repo-Commit": COMMIT,
                "Accept-Ranges": "bytes",
            }
            if asked:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
            part = content[start:end]
            stalls = hub.stall_after is not None and body and len(part) > hub.stall_after
            sent = part[: hub.stall_after] if stalls else part
            self._send(206 if asked else 200, sent, headers, length=len(part), body=body)
            while stalls and hub.stall_after is not None:
                time.sleep(0.05)

        def _json(self, value: object) -> None:
            self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def _send(
            self, status: int, content: bytes, headers: dict[str, str], *, length: int | None = None, body: bool = True
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content) if length is None else length))
            self.end_headers()
            if body and self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _entry(name: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


def _tree(files: dict[str, bytes], folder: str, *, recursive: bool) -> list[dict[str, object]]:
    prefix = f"{folder}/" if folder else ""
    inside = [name for name in files if name.startswith(prefix)]
    here = [name for name in inside if recursive or "/" not in name.removeprefix(prefix)]
    folders = sorted({prefix + name.removeprefix(prefix).split("/")[0] for name in inside if name not in here})
    return [_entry(name, files[name]) for name in here] + [
        {"type": "directory", "path": f, "oid": "0" * 40} for f in folders
    ]
