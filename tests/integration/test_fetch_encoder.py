"""The download of encoder weights, from a hub that the test itself serves on this machine (spec 2, "Weights")."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geno_model.cli.release import app
from geno_model.encoder.carbon import CarbonStateEncoder, encoder_hash
from geno_model.files import lock
from geno_model.offline import NetworkAttemptError, no_network
from geno_model.release.fetch import CARBON_REVISION, FetchError, fetch_encoder
from tests.unit.encoders import settings, tiny_encoder

REPO, REVISION = "someone/tiny", "0123456789abcdef0123456789abcdef01234567"
NEXT_REVISION = "89abcdef0123456789abcdef0123456789abcdef"
REPOSITORY = Path(__file__).parents[2]
UNWANTED = {
    "adapter_model.safetensors": b"",
    "adapter_config.json": b"{}",
    "pytorch_model.bin": b"a pickle",
    "modeling_tiny.py": b"raise SystemExit",
    "README.md": b"# tiny",
}


class Hub(ThreadingHTTPServer):
    """A hub with one revision of one repository, the files of a folder; counts what it is asked for.

    cut_after: how many bytes of a weights file it sends before the connection breaks, and from then on none. spoil: a
    file whose bytes come out wrong.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.revision = REVISION
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()} | UNWANTED
        self.gets: list[tuple[str, str]] = []
        self.cut_after: int | None = None
        self.spoil = ""
        self.status = 200

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """The two questions that a download asks: what files, and each file, from a byte on."""

    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.server.status != 200:
            self.answer(self.server.status, b"{}")
        elif path == f"/api/models/{REPO}/revision/{self.server.revision}":
            self.answer(
                200, json.dumps({"id": REPO, "sha": self.server.revision, "siblings": self.siblings()}).encode()
            )
        elif path.startswith(f"/api/models/{REPO}/revision/"):
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif found := re.fullmatch(rf"/{REPO}/resolve/{self.server.revision}/(.+)", path):
            self.send_file(found[1])
        else:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def siblings(self) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = []
        for name, raw in sorted(self.server.files.items()):
            blob = hashlib.sha1(f"blob {len(raw)}\0".encode() + raw, usedforsecurity=False).hexdigest()
            entry: dict[str, object] = {"rfilename": name, "size": len(raw), "blobId": blob}
            if name.endswith((".safetensors", ".bin")):
                entry["lfs"] = {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw), "pointerSize": 130}
            entries.append(entry)
        return entries

    def send_file(self, name: str) -> None:
        raw = self.server.files[name]
        asked = self.headers.get("Range", "")
        self.server.gets.append((name, asked))
        if name == self.server.spoil:
            raw = bytes(len(raw))
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        part = raw[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(part)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(raw) - 1}/{len(raw)}")
        self.end_headers()
        if name.endswith(".safetensors") and self.server.cut_after is not None:
            part, self.server.cut_after = part[: self.server.cut_after], 0
            self.close_connection = True
        self.wfile.write(part)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "tiny"
    tiny_encoder(folder)
    return folder


@pytest.fixture
def hub(original: Path) -> Iterator[Hub]:
    server = Hub(original)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)  # between its own retries
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 14)  # 10 MB, more than the test's file
    monkeypatch.delenv("HF_TOKEN", raising=False)


def fetch(hub: Hub, folder: Path, **changes: str) -> int:
    values = {"repo_id": REPO, "revision": REVISION, "endpoint": hub.address} | changes
    return fetch_encoder(folder, **values).n_fetched_bytes  # type: ignore[arg-type]


def test_what_was_fetched_is_the_original_and_loads(hub: Hub, original: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    wanted = {path.name for path in original.iterdir()}
    assert fetch(hub, folder) == sum((original / name).stat().st_size for name in wanted)
    assert {path.name for path in folder.iterdir()} == wanted | {"SHA256SUMS", "source.json"}
    assert encoder_hash(folder, "float32") == encoder_hash(original, "float32")
    assert CarbonStateEncoder.load(folder, settings()).d_state == 32
    assert {name for name, _ in hub.gets} == wanted  # no pickle, no code
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert not list(tmp_path.glob(".*"))


def test_a_second_call_asks_nothing_and_a_changed_file_is_named(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    fetch(hub, folder)
    hub.status = 500  # whatever it is asked now
    assert fetch(hub, folder) == 0
    with pytest.raises(FetchError, match=r"holds someone/tiny at 0123456789ab, not someone/other"):
        fetch(hub, folder, repo_id="someone/other")
    (folder / "config.json").write_text("{}")
    with pytest.raises(FetchError, match=r"config\.json differs from its checksum"):
        fetch(hub, folder)
    (folder / "config.json").unlink()
    with pytest.raises(FetchError, match=r"config\.json is missing"):
        fetch(hub, folder)


def test_a_broken_download_goes_on_where_it_ended(hub: Hub, original: Path, tmp_path: Path) -> None:
    folder, weights = tmp_path / "encoder", "model.safetensors"
    hub.cut_after = 100_000
    with pytest.raises(FetchError, match="the next call resumes there"):
        fetch(hub, folder)
    assert not folder.exists()
    partial = tmp_path / ".encoder.partial" / "someone--tiny" / REVISION / f"{weights}.unfinished"
    have, whole = partial.stat().st_size, (original / weights).stat().st_size
    assert have == 98_304 < whole  # whole blocks
    hub.cut_after = None
    hub.gets.clear()
    fetched = fetch(hub, folder)
    assert (weights, f"bytes={have}-") in hub.gets
    assert "config.json" not in dict(hub.gets)  # it was there
    assert fetched == whole - have + sum((original / name).stat().st_size for name, _ in hub.gets if name != weights)
    assert (folder / weights).read_bytes() == (original / weights).read_bytes()
    assert encoder_hash(folder, "float32") == encoder_hash(original, "float32")


def test_a_download_of_one_revision_is_no_part_of_another(hub: Hub, tmp_path: Path) -> None:
    """It was: whole files of the first, and the end of the second one's weights, sealed as the second."""
    folder, weights = tmp_path / "encoder", "model.safetensors"
    hub.cut_after = 100_000
    with pytest.raises(FetchError):
        fetch(hub, folder)
    hub.cut_after, hub.revision = None, NEXT_REVISION
    hub.files["config.json"] = hub.files["config.json"].replace(b"{", b"{ ", 1)
    hub.files[weights] = hub.files[weights][:-1] + b"!"
    hub.gets.clear()
    fetch(hub, folder, revision=NEXT_REVISION)
    assert (weights, "") in hub.gets and "config.json" in dict(hub.gets)  # from the first byte on
    source = json.loads((folder / "source.json").read_text())
    assert source["revision"] == NEXT_REVISION
    assert {name: (folder / name).read_bytes() for name in source["files"]} == {
        name: hub.files[name] for name in source["files"]
    }
    assert not list(tmp_path.glob(".*"))  # nothing is left of the first, either


def test_what_is_there_is_hashed_again(hub: Hub, original: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    hub.cut_after = 100_000
    with pytest.raises(FetchError):
        fetch(hub, folder)
    (tmp_path / ".encoder.partial" / "someone--tiny" / REVISION / "config.json").write_text("{}")
    hub.cut_after = None
    fetch(hub, folder)
    assert (folder / "config.json").read_bytes() == (original / "config.json").read_bytes()


def test_one_process_at_a_time(hub: Hub, tmp_path: Path) -> None:
    partial = tmp_path / ".encoder.partial"
    partial.mkdir()
    handle = lock(partial)
    assert handle is not None
    with pytest.raises(FetchError, match="another process is downloading into"):
        fetch(hub, tmp_path / "encoder")
    os.close(handle)
    assert fetch(hub, tmp_path / "encoder") > 0


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_with_another_checksum_is_thrown_away(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.spoil = name
    with pytest.raises(FetchError, match=f"{name} arrived with another checksum"):
        fetch(hub, tmp_path / "encoder")
    assert not (tmp_path / "encoder").exists()
    hub.spoil = ""
    assert fetch(hub, tmp_path / "encoder") > 0


def test_what_cannot_be_fetched_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    with pytest.raises(FetchError, match="'main'; expected the 40 hexadecimal digits"):
        fetch(hub, folder, revision="main")
    with pytest.raises(FetchError, match="has no revision"):
        fetch(hub, folder, revision="f" * 40)
    with pytest.raises(FetchError, match="no repository someone/nothing"):
        fetch(hub, folder, repo_id="someone/nothing")
    with pytest.raises(FetchError, match="'no such name' is no name of a repository"):
        fetch(hub, folder, repo_id="no such name")
    hub.files.pop("model.safetensors")
    with pytest.raises(FetchError, match="lacks weights in safetensors"):
        fetch(hub, folder)
    hub.status = 503
    with pytest.raises(FetchError, match="the hub answered"):
        fetch(hub, folder)
    with pytest.raises(FetchError, match="cannot be reached"):
        fetch(hub, folder, endpoint="http://127.0.0.1:9")
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FetchError, match="holds no fetched encoder"):
        fetch(hub, folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_the_command(hub: Hub, tmp_path: Path) -> None:
    def run(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["fetch-encoder", "--endpoint", hub.address, *options])
        return result.exit_code, result.stderr

    place = ["--to", str(tmp_path / "encoder"), "--repo", REPO, "--revision", REVISION]
    code, said = run(*place)
    assert code == 0 and "MB fetched" in said and "--encoder-dir" in said and REVISION[:12] in said
    code, said = run(*place)
    assert code == 0 and "already there" in said
    assert run(*place, "--quiet") == (0, "")
    code, said = run("--to", str(tmp_path / "other"), "--repo", REPO)
    assert code == 1 and "--repo needs --revision" in said and len(said.splitlines()) == 1
    code, said = run("--to", str(tmp_path / "other"))  # the pinned revision of Carbon, which this hub does not have
    assert code == 1 and "Carbon-500M" in said and len(said.splitlines()) == 1
    assert re.fullmatch(r"[0-9a-f]{40}", CARBON_REVISION)


def test_nothing_else_can_download(hub: Hub, tmp_path: Path) -> None:
    """Only the command and the asset name the module, both inside a function; under the guard it cannot connect."""
    for package in ("data_contracts", "geno_model", "geno_pipeline"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = path.relative_to(REPOSITORY).as_posix()
            for node in ast.walk(ast.parse(path.read_text())):
                modules = (
                    [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                    if isinstance(node, ast.Import | ast.ImportFrom) else []
                )  # fmt: skip
                harmless = "huggingface_hub.errors"  # classes of errors that transformers raises, too
                if any(m.startswith(("huggingface_hub", "httpx2")) and m != harmless for m in modules):
                    assert name == "geno_model/release/fetch.py"
                if "geno_model.release.fetch" in modules or (
                    modules[-1:] == ["geno_model.release"] and "fetch" in modules
                ):
                    assert name in ("geno_model/cli/release.py", "geno_pipeline/assets/states.py")
                    assert isinstance(node, ast.ImportFrom) and node.col_offset > 0
    with pytest.raises(NetworkAttemptError), no_network():
        fetch(hub, tmp_path / "encoder")
    assert not hub.gets
