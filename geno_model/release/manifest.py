"""The manifest of a release: every file with its SHA-256, and the model id that follows from it (spec 5, 8).

Belongs here: writing and verifying `manifest.json` and `SHA256SUMS`. Does not: what the files mean.

The concept: the manifest is canonical JSON (sorted keys, UTF-8, no spaces, finite numbers), so the same files give the
same bytes, and `model_id = sha256(manifest.json)` names the release. `SHA256SUMS` says the same, and the manifest's own
sum, in the form that `sha256sum -c` reads.

    manifest.json   {"files":{"calibration.parquet":{"bytes":5120,"sha256":"..."},...},"schema_version":1}
    SHA256SUMS      every file above, and manifest.json
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from geno_model.files import replacing_file
from geno_model.genomics.errors import InputError

MANIFEST = "manifest.json"
CHECKSUMS = "SHA256SUMS"
ENCODER_FOLDER = "encoder"
SCHEMA_VERSION = 1


class ReleaseError(InputError):
    """A folder is no release, or not the release that its manifest says."""


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys, no spaces and UTF-8: one value, one text. ValueError for a number that is not finite."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def write_manifest(folder: Path) -> str:
    """List all files of a complete release folder in `manifest.json` and `SHA256SUMS`; returns the model id.

    Files whose name begins with a dot are no part of a release. Raises `ReleaseError` for an empty folder.
    """
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)} for name in _names(folder)
    }
    if not files:
        raise ReleaseError(f"{folder} holds no files: nothing to release; build the release first")
    manifest = canonical_json({"schema_version": SCHEMA_VERSION, "files": files})
    model_id = hashlib.sha256(manifest).hexdigest()
    for name, content in ((MANIFEST, manifest), (CHECKSUMS, _checksums(files, model_id))):
        with replacing_file(folder / name) as temporary:
            temporary.write_bytes(content)
    return model_id


def verify_release(folder: Path, *, except_for: Collection[str] = ()) -> str:
    """The model id of a release folder, after every file in it has been compared with the manifest.

    except_for: names of files whose bytes are not compared, because the caller has found them to differ.
    An encoder that somebody put into `encoder/` of a release that came without one is not listed and not judged here:
    its own identity is in the state contract. Raises `ReleaseError` naming the first file that is missing, differs or
    does not belong there.
    """
    manifest, listed = _read_manifest(folder)
    found = set(_names(folder))
    for name in sorted(set(listed) - set(except_for)):
        if name not in found:
            raise ReleaseError(f"{folder}: {name} is missing, but the manifest lists it; copy the release again")
        expected, actual = listed[name]["sha256"], file_sha256(folder / name)
        if actual != expected:
            raise ReleaseError(
                f"{folder}: {name} differs from the manifest (SHA-256 {actual[:12]}, expected {str(expected)[:12]}); "
                "copy the release again"
            )
    has_own_encoder = any(_is_encoder(name) for name in listed)
    for name in sorted(found - set(listed)):
        if has_own_encoder or not _is_encoder(name):
            raise ReleaseError(
                f"{folder}: {name} is not in the manifest; nothing is added to a release: remove that file"
            )
    model_id = hashlib.sha256(manifest).hexdigest()
    _require_checksums(folder, _checksums(listed, model_id))
    return model_id


def _read_manifest(folder: Path) -> tuple[bytes, dict[str, dict[str, Any]]]:
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
        manifest = json.loads(raw)
        version, files = manifest["schema_version"], manifest["files"]
        if not all(isinstance(entry["sha256"], str) for entry in files.values()):
            raise TypeError("a SHA-256 is no text")
    except OSError as error:
        raise ReleaseError(
            f"no model release at {folder}: {MANIFEST} cannot be read ({error.strerror}); "
            "give the folder that holds it as the model"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(f"{path} is no manifest of a release ({error}); copy the release again") from None
    if version != SCHEMA_VERSION:
        raise ReleaseError(
            f"{path} has schema version {version!r}, this program reads {SCHEMA_VERSION}; "
            "install the version that wrote it"
        )
    return raw, files


def _require_checksums(folder: Path, expected: bytes) -> None:
    path = folder / CHECKSUMS
    if not path.is_file():
        raise ReleaseError(f"{folder}: {CHECKSUMS} is missing; copy the release again")
    if path.read_bytes() != expected:
        raise ReleaseError(f"{folder}: {CHECKSUMS} and {MANIFEST} contradict each other; copy the release again")


def _names(folder: Path) -> list[str]:
    """Relative POSIX names of the files that a manifest is about."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    shown = (name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))
    return sorted(name for name in shown if name not in (MANIFEST, CHECKSUMS))


def _is_encoder(name: str) -> bool:
    return name.startswith(f"{ENCODER_FOLDER}/")


def _checksums(files: dict[str, dict[str, Any]], model_id: str) -> bytes:
    sums = {name: entry["sha256"] for name, entry in files.items()} | {MANIFEST: model_id}
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
