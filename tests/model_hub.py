"""A Hugging Face hub on loopback that takes models: what the hub's own client asks for in a push, and no more."""

import base64
import hashlib
import json
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml
from huggingface_hub.repocard_data import model_index_to_eval_results

WRITER, READER = "hf_writerWRITERwriterWRITERwriterWRITER", "hf_readerREADERreaderREADERreaderREADER"
OF_STORE = "of-the-store-alone"  # what the xet store takes instead of the hub's token
BY_XET = b"what was sent by xet: in chunks, which only the store puts together"
LICENCES = {"mit", "apache-2.0", "other"}


@dataclass
class Repository:
    private: bool
    branches: dict[str, dict[str, bytes]] = field(
        default_factory=lambda: {"main": {".gitattributes": b"*.safetensors lfs\n"}}
    )
    commits: list[str] = field(default_factory=lambda: ["0" * 40])  # subjects, after the first


@dataclass
class ModelHub:
    """Tokens: `WRITER` may do everything, `READER` may read; anybody else is nobody."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)  # large files by sha256
    shards: list[bytes] = field(default_factory=list)  # of the xet store
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    breaks_at: str | None = None  # a piece of a path: such a request is answered with 500


@contextmanager
def taking_models() -> Iterator[ModelHub]:
    hub = ModelHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = self._chunks()
            hub.requests.append((self.command, self.path, dict(self.headers), body))
            path = unquote(urlsplit(self.path).path)
            if hub.breaks_at and hub.breaks_at in path:
                return self._json({"error": "out of order"}, 500)
            if path == "/api/validate-yaml":
                return self._json(*validated(json.loads(body)["content"]))
            if path.startswith("/lfs/"):  # signed addresses: no token goes there
                if "Authorization" in self.headers:
                    return self._json({"error": "a token was sent to the store"}, 400)
                hub.stored[path.removeprefix("/lfs/")] = body
                return self._json({})
            if path.startswith("/xet/"):
                return self._stored(path, body)
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if token not in (WRITER, READER):
                return self._json({"error": "Invalid username or password."}, 401)
            if token == READER and self.command != "GET":
                return self._json({"error": "You need the write role to do this"}, 403)
            return self._asked(path, body)

        do_GET = do_POST = do_PUT = do_HEAD = _handle

        def _file(self, repository: Repository, commit: str, name: str) -> None:
            files = next(files for files in repository.branches.values() if commit_of(files) == commit)
            self.send_response(200)
            self.send_header("Content-Length", str(len(files[name])))
            self.send_header("ETag", f'"{hashlib.sha1(files[name]).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(files[name])

        def _asked(self, path: str, body: bytes) -> None:
            if path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                if name in hub.repositories:
                    told = {"error": "You already created this model repo", "url": f"{hub.address}/{name}"}
                    return self._json(told, 409)
                hub.repositories[name] = Repository(private=asked.get("visibility") == "private")
                return self._json({"url": f"{hub.address}/{name}"})
            name = next((name for name in hub.repositories if f"/{name}" in path), None)
            if name is None:
                return self._json({"error": "Repository not found"}, 404, "RepoNotFound")
            repository, rest = hub.repositories[name], path.split(name, 1)[1]
            if found := re.fullmatch(r"/resolve/([0-9a-f]{40})/(.+)", rest):
                return self._file(repository, found[1], found[2])
            if rest == "/refs":
                branches = [
                    {"name": n, "ref": f"refs/heads/{n}", "targetCommit": "0" * 40} for n in repository.branches
                ]
                return self._json({"branches": branches, "converts": [], "tags": []})
            if rest.startswith("/xet-write-token/"):
                return self._json({"casUrl": f"{hub.address}/xet", "accessToken": OF_STORE, "exp": 4_000_000_000})
            if found := re.fullmatch(r"/branch/(.+)", rest):
                if found[1] in repository.branches:
                    return self._json({"error": "Reference already exists"}, 409)
                repository.branches[found[1]] = dict(repository.branches["main"])
                return self._json({})
            if rest == ".git/info/lfs/objects/batch":
                return self._json({"objects": [self._upload(one) for one in json.loads(body)["objects"]]})
            if found := re.fullmatch(r"/preupload/(.+)", rest):
                files = repository.branches[found[1]]
                return self._json({"files": [preupload(one, files) for one in json.loads(body)["files"]]})
            if found := re.fullmatch(r"/commit/(.+)", rest):
                return self._commit(name, found[1], [json.loads(line) for line in body.splitlines()])
            if self.command == "GET" and (found := re.fullmatch(r"(?:/revision/(.+))?", rest)):
                files = repository.branches[found[1] or "main"]
                siblings = [{"rfilename": file} for file in files]
                return self._json(
                    {"id": name, "sha": commit_of(files), "private": repository.private, "siblings": siblings}
                )
            return self._json({"error": f"nothing at {path}"}, 404)

        def _stored(self, path: str, body: bytes) -> None:
            """The xet store: chunks of large files, then a shard that names each whole file by its sha256."""
            if self.headers.get("Authorization") != f"Bearer {OF_STORE}":
                return self._json({"error": "not the store's own token"}, 401)
            if path.endswith("/v1/shards"):
                hub.shards.append(body)
                return self._json({"result": 1})
            if "/v1/xorbs/" in path:
                return self._json({"was_inserted": True})
            return self._json({"error": "not found"}, 404)  # a chunk that is asked for; /v2, which v1 stands in for

        def _upload(self, one: dict[str, object]) -> dict[str, object]:
            known = one["oid"] in hub.stored
            actions = {} if known else {"actions": {"upload": {"href": f"{hub.address}/lfs/{one['oid']}"}}}
            return {"oid": one["oid"], "size": one["size"], **actions}

        def _commit(self, name: str, branch: str, lines: list[dict[str, dict[str, str]]]) -> None:
            repository = hub.repositories[name]
            files = dict(repository.branches[branch])
            for line in lines:
                value = line["value"]
                if line["key"] == "header":
                    repository.commits.append(value["summary"])
                elif line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    words = struct.unpack(">4Q", bytes.fromhex(value["oid"]))
                    in_shard = any(struct.pack("<4Q", *words) in shard for shard in hub.shards)
                    files[value["path"]] = BY_XET if in_shard else hub.stored[value["oid"]]
                elif line["key"] == "deletedFile":
                    del files[value["path"]]
            repository.branches[branch] = files
            oid = commit_of(files)
            self._json({"success": True, "commitUrl": f"{hub.address}/{name}/commit/{oid}", "commitOid": oid})

        def _chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _json(self, value: object, status: int = 200, code: str = "") -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()
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


def commit_of(files: dict[str, bytes]) -> str:
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


def preupload(asked: dict[str, object], files: dict[str, bytes]) -> dict[str, object]:
    name = str(asked["path"])
    large = name.endswith((".safetensors", ".gguf"))
    oid = None
    if (content := files.get(name)) is not None:
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        oid = hashlib.sha256(content).hexdigest() if large else git
    return {"path": name, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}


def validated(card: str) -> tuple[dict[str, object], int]:
    """What the hub's /api/validate-yaml checks of what we write: types, known licences, a readable model-index."""
    errors = []
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    data = yaml.safe_load(found[1]) if found else None
    if not isinstance(data, dict):
        return {"errors": [{"message": "no metadata"}], "warnings": []}, 400
    if data.get("license", "mit") not in LICENCES:
        errors.append(f'"license" must be one of {sorted(LICENCES)}')
    for key in ("library_name", "pipeline_tag", "base_model", "base_model_relation"):
        if not isinstance(data.get(key, ""), str):
            errors.append(f'"{key}" must be a string')
    for key in ("tags", "datasets", "metrics"):
        if not all(isinstance(one, str) for one in data.get(key, [])):
            errors.append(f'"{key}" must be an array of strings')
    try:
        model_index_to_eval_results(data.get("model-index", []) or [{"name": "", "results": []}])
    except (KeyError, TypeError) as error:
        errors.append(f'"model-index" lacks {error}')
    return {"errors": [{"message": one} for one in errors], "warnings": []}, 400 if errors else 200
