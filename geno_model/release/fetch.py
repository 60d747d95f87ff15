"""Weights of a published encoder, downloaded once, on request, at a pinned revision (spec 2, "Weights").

Belongs here: the one place of the project that opens a connection. It is called by `geno-release fetch-encoder` and by
the asset `carbon_weights`, and by nothing else. Does not: loading what was downloaded (`geno_model.encoder`).

The concept: files are collected in a hidden folder beside the target, which is of one repository and commit alone. Each
is verified against the checksum that the hub states for the commit; the folder takes its name when all are there. A
broken download is resumed: whole files are hashed and not fetched again, a partial one continues where it ended.
`SHA256SUMS` (for `sha256sum -c`) and `source.json` say afterwards what the folder is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO, cast

import httpx2
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers, disable_progress_bars, logging

from geno_model.files import lock
from geno_model.genomics.errors import InputError

CARBON_REPO = "HuggingFaceBio/Carbon-500M"
CARBON_REVISION = "5d31d59b3c845b288a13aedb1358934196852eec"
WANTED = (
    "model.safetensors", "model-*.safetensors", "model.safetensors.index.json", "config.json",
    "generation_config.json", "tokenizer*.json", "special_tokens_map.json", "LICENSE*",
)  # fmt: skip
NEEDED = ("config.json", "tokenizer.json")
CHECKSUMS, SOURCE = "SHA256SUMS", "source.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BLOCK = 1 << 20

Progress = Callable[[str, int, int], None]
"""Told (file, bytes there, bytes in all) now and then."""


class FetchError(InputError):
    """Weights that cannot be downloaded, or are not what was asked for."""


@dataclass(frozen=True, slots=True)
class FetchedEncoder:
    """A folder of weights. n_fetched_bytes: what came over the network in this call; 0 where all was there."""

    folder: Path
    repo_id: str
    revision: str
    n_bytes: int
    n_fetched_bytes: int


@dataclass(frozen=True, slots=True)
class _RemoteFile:
    """A file of the revision: its size in bytes, and its SHA-256 (large files) or git blob SHA-1 (small ones)."""

    name: str
    n_bytes: int
    sha256: str | None
    git_sha1: str


def fetch_encoder(
    folder: Path,
    repo_id: str = CARBON_REPO,
    revision: str = CARBON_REVISION,
    *,
    endpoint: str | None = None,
    progress: Progress | None = None,
) -> FetchedEncoder:
    """Download the files of an encoder into `folder`, or find that they are there already.

    revision: a full commit hash; a branch or tag may move, and is refused. endpoint: of the hub; default Hugging Face.
    Raises `FetchError`: no hub, repository, revision or permission; a checksum that differs; a folder that holds
    something else; a repository without safetensors weights.
    """
    if not _COMMIT.fullmatch(revision):
        raise FetchError(
            f"revision is {revision!r}; expected the 40 hexadecimal digits of a commit: a branch or tag may mean other "
            "weights tomorrow"
        )
    if folder.exists():
        n_bytes = verify_fetched(folder, repo_id, revision)
        return FetchedEncoder(folder, repo_id, revision, n_bytes, 0)
    disable_progress_bars()  # its bars and warnings would run through ours
    logging.set_verbosity_error()
    try:
        files = _files_of(HfApi(endpoint=endpoint), repo_id, revision)
        with _partial_folder(folder, repo_id, revision) as partial:
            n_fetched = sum(_fetch(file, partial, repo_id, revision, endpoint, progress) for file in files)
            _seal(partial, files, repo_id, revision)
            os.replace(partial, folder)
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise FetchError(_refusal(error, repo_id, revision)) from None
    except HFValidationError as error:
        raise FetchError(
            f"{repo_id!r} is no name of a repository ({_first_line(error)}); expected owner/name"
        ) from None
    except HfHubHTTPError as error:
        raise FetchError(f"the hub answered {_first_line(error)} for {repo_id}; try again later") from None
    except (httpx2.HTTPError, ConnectionError) as error:
        raise FetchError(
            f"the hub cannot be reached ({type(error).__name__}); check the network, or $HF_ENDPOINT. "
            "What was downloaded so far is kept, and the next call resumes there"
        ) from None
    return FetchedEncoder(folder, repo_id, revision, sum(file.n_bytes for file in files), n_fetched)


def verify_fetched(folder: Path, repo_id: str, revision: str) -> int:
    """Bytes of a fetched folder, after every file was compared with its checksum. Raises `FetchError`."""
    try:
        source = json.loads((folder / SOURCE).read_text())
        found, sums = (source["repo_id"], source["revision"]), source["files"]
    except (OSError, ValueError, KeyError):
        raise FetchError(
            f"{folder} exists and holds no fetched encoder ({SOURCE} is missing or no JSON); name another folder"
        ) from None
    if found != (repo_id, revision):
        raise FetchError(
            f"{folder} holds {found[0]} at {found[1][:12]}, not {repo_id} at {revision[:12]}; name another"
        )
    for name, entry in sums.items():
        path = folder / name
        if not path.is_file() or _digest(path, "sha256") != entry["sha256"]:
            what = "differs from its checksum" if path.is_file() else "is missing"
            raise FetchError(f"{folder}: {name} {what}; remove the folder and fetch it again")
    return sum(entry["bytes"] for entry in sums.values())


def _files_of(api: HfApi, repo_id: str, revision: str) -> list[_RemoteFile]:
    """The wanted files of a revision, those of the weights among them."""
    info = api.model_info(repo_id, revision=revision, files_metadata=True)
    files = [
        _RemoteFile(entry.rfilename, int(entry.size or 0), entry.lfs.sha256 if entry.lfs else None, str(entry.blob_id))
        for entry in info.siblings or []
        if "/" not in entry.rfilename and any(fnmatch(entry.rfilename, pattern) for pattern in WANTED)
    ]
    names = {file.name for file in files}
    if "model.safetensors" in names:  # a second copy in several files is not needed
        files = [file for file in files if not file.name.startswith("model-")]
    lacking = [name for name in NEEDED if name not in names]
    if lacking or not any(name.endswith(".safetensors") for name in names):
        raise FetchError(
            f"{repo_id} at {revision[:12]} lacks {', '.join(lacking) or 'weights in safetensors'}; "
            "expected a Llama in the layout of transformers (pickled weights are not read)"
        )
    return sorted(files, key=lambda file: file.name)


@contextmanager
def _partial_folder(folder: Path, repo_id: str, revision: str) -> Iterator[Path]:
    """The hidden folder for the files of one commit of one repository, for one process at a time.

    When the block ends well, what was begun of other commits for the same target is removed: nothing can resume it.
    Raises `FetchError` where another process has it.
    """
    downloads = folder.with_name(f".{folder.name}.partial")
    partial = downloads / repo_id.replace("/", "--") / revision
    partial.mkdir(parents=True, exist_ok=True)
    handle = lock(downloads)  # two that append to one file would spoil it
    if handle is None:
        raise FetchError(f"another process is downloading into {folder}; wait until it has ended")
    try:
        yield partial
        shutil.rmtree(downloads, ignore_errors=True)
    finally:
        os.close(handle)


def _fetch(
    file: _RemoteFile, partial: Path, repo_id: str, revision: str, endpoint: str | None, progress: Progress | None
) -> int:
    """Make sure of one whole, right file in `partial`; returns the bytes that were fetched."""
    path, unfinished = partial / file.name, partial / f"{file.name}.unfinished"
    if path.exists() and _is_right(path, file):
        return 0
    path.unlink(missing_ok=True)
    have = unfinished.stat().st_size if unfinished.exists() else 0
    if have > file.n_bytes:
        unfinished.unlink()
        have = 0
    url = hf_hub_url(repo_id, file.name, revision=revision, endpoint=endpoint)
    with unfinished.open("ab") as stream:
        counted = cast(BinaryIO, _Counted(stream, file, have, progress))
        http_get(url, counted, resume_size=have, headers=build_hf_headers(), expected_size=file.n_bytes)
    if not _is_right(unfinished, file):
        unfinished.unlink()
        raise FetchError(
            f"{file.name} arrived with another checksum than the hub states for {revision[:12]}; it was thrown away: "
            "fetch again"
        )
    os.replace(unfinished, path)
    return file.n_bytes - have


class _Counted:
    """A file that tells how much has been written to it."""

    def __init__(self, stream: BinaryIO, file: _RemoteFile, have: int, progress: Progress | None) -> None:
        self._stream, self._file, self._have, self._progress = stream, file, have, progress

    def write(self, block: bytes) -> int:
        self._have += len(block)
        if self._progress:
            self._progress(self._file.name, self._have, self._file.n_bytes)
        return self._stream.write(block)

    def truncate(self, size: int | None = None) -> int:
        """A server that does not resume makes the file begin again."""
        n_bytes = self._stream.truncate(size)
        self._have = n_bytes
        return n_bytes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _seal(partial: Path, files: list[_RemoteFile], repo_id: str, revision: str) -> None:
    """Write checksums and origin of a complete folder; the same revision gives the same bytes."""
    sums = {file.name: {"bytes": file.n_bytes, "sha256": _digest(partial / file.name, "sha256")} for file in files}
    source = {"repo_id": repo_id, "revision": revision, "files": sums}
    (partial / CHECKSUMS).write_text("".join(f"{entry['sha256']}  {name}\n" for name, entry in sums.items()))
    (partial / SOURCE).write_text(json.dumps(source, sort_keys=True, indent=1) + "\n")


def _is_right(path: Path, file: _RemoteFile) -> bool:
    """Whether a file's bytes have the checksum that the hub states."""
    kind, expected = ("sha256", file.sha256) if file.sha256 else ("git", file.git_sha1)
    return _digest(path, kind) == expected


def _digest(path: Path, kind: str) -> str:
    """SHA-256 of a file, or ("git") the SHA-1 that git gives it as a blob."""
    digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(usedforsecurity=False)
    if kind == "git":
        digest.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _refusal(error: Exception, repo_id: str, revision: str) -> str:
    if isinstance(error, GatedRepoError):
        return f"{repo_id} is gated: accept its conditions on the hub, and give a token in $HF_TOKEN"
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id} has no revision {revision}; check the commit hash"
    return (
        f"no repository {repo_id} on the hub, or no permission to read it; check the name, or give a token in $HF_TOKEN"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
