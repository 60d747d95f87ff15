"""A reference genome as one memory-mapped array of bases, and its grid of windows (spec 3).

Belongs here: FASTA to bases, names of contigs, windows and which of them is the most central. Does not: variants,
annotation, or which windows are held out.

The concept: a FASTA is turned once into a folder that the operating system pages in on demand, so that opening a whole
genome is instant, every process shares its pages, and a window is a view that costs nothing:

    bases.bin      uint8 ASCII, upper case, everything outside ACGT is N; contig after contig
    soft_mask.bin  one bit a base, set where the FASTA has lower case
    codes.bin      of each letter outside ACGTN, such as R: its offset in bases.bin times 256 plus the letter, uint64
    genome.json    contigs: name, length in bp, offset in bases.bin (a multiple of 8)

The folder's name holds the FASTA's path and a fingerprint: size, modification time, the bytes at both ends, and this
format's version. A new fingerprint replaces the folder of the old one. It does NOT notice a FASTA changed in its middle
with the same size and the same time stamp. The folder lies in a cache, not beside the FASTA, which often may not be
written to.

Memory: pages of the map that were read stay with a process until they are given back, which `window` and `bases` do
whenever they have handed out places in more than `RESIDENT_PLACES` stretches of 2 MiB (a kernel with large pages maps
all of a stretch when one byte of it is read). Views stay valid: a page that is read again comes from the file.
Coordinates are 0-based, half-open. A FASTA cannot say that a contig is a circle: one that is named as mitochondria and
is as long as the human ones is taken for one, and a window may then begin left of 0 or end beyond the last base.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from data_contracts.columns import BASES_PER_TOKEN
from geno_model.files import remove_folder, replacing_folder, sweep
from geno_model.genomics.builds import MT_LENGTH_BP, OLD_MT_LENGTH_BP, contradicts, plain_name
from geno_model.genomics.errors import InputError
from geno_model.genomics.text_input import open_bytes

FORMAT_VERSION = 2
CONTIGS_SHOWN = 5
RESIDENT_PLACES = 64
NO_WINDOW = np.iinfo(np.int64).min  # a start that no window has

_BLOCK = 8 << 20
_END_BYTES = 64 << 10
_PLACE_BITS = 21
_BASE_TABLE = bytes(ord(chr(byte).upper()) if chr(byte) in "ACGTacgt" else ord("N") for byte in range(256))
# PLINK's codes of chromosomes, and AncestryDNA's; 25 is the pseudo-autosomal part.
_PLINK = {"23": "X", "24": "Y", "25": "X", "26": "MT"}


class Genome:
    """Bases of a FASTA, memory-mapped and read-only. Make one with `Genome.open`."""

    def __init__(self, fasta: Path, folder: Path) -> None:
        """fasta: the file this came from; folder: its cache folder, complete."""
        table = json.loads((folder / "genome.json").read_text())["contigs"]
        self.fasta = fasta
        self.contigs: dict[str, int] = {row["name"]: row["length"] for row in table}
        self._offsets: dict[str, int] = {row["name"]: row["offset"] for row in table}
        self._map = _map(folder / "bases.bin")
        self._handed_out: set[int] = set()  # stretches of 2 MiB
        self._bases = np.frombuffer(self._map, dtype=np.uint8)
        self._mask = np.frombuffer(_map(folder / "soft_mask.bin"), dtype=np.uint8)
        has_codes = (folder / "codes.bin").stat().st_size > 0  # a map of nothing cannot be made
        self._codes = np.frombuffer(_map(folder / "codes.bin") if has_codes else b"", dtype=np.uint64)
        self._aliases: dict[str, str] = {}
        for name in self.contigs:
            self._aliases.setdefault(plain_name(name), name)
        plink = {code: self._aliases.get(name) for code, name in _PLINK.items() if code not in self._aliases}
        self._plink = {code: name for code, name in plink.items() if name is not None}
        self._plink_met: set[str] = set()

    @classmethod
    def open(cls, fasta: Path | str, cache_dir: Path | str | None = None) -> Genome:
        """The genome of a FASTA (plain, gzip or bgzip; no index needed), building its cache folder the first time.

        cache_dir: default `$GENO_CACHE`, else `~/.cache/geno-lewm`. Several processes may open the same FASTA at once.
        Raises InputError for a missing, empty or truncated file, for one that is no FASTA, and for a cache that cannot
        be written.
        """
        path = Path(fasta).expanduser().resolve()
        try:
            status = path.stat()
        except FileNotFoundError:
            raise InputError(f"FASTA not found: {path}; check the path, or download the reference first") from None
        root = Path(cache_dir or os.environ.get("GENO_CACHE") or Path.home() / ".cache" / "geno-lewm").expanduser()
        place = hashlib.sha256(str(path).encode()).hexdigest()[:16]
        folder = root / "genomes" / f"{place}-{_fingerprint(path, status)}"
        sweep(folder.parent)
        if not (folder / "genome.json").is_file():
            try:
                _build(path, folder)
            except OSError as error:
                raise InputError(
                    f"the cache of {path} cannot be written below {root}: {error.strerror or error}; name a folder "
                    "with more room that may be written to in GENO_CACHE"
                ) from None
            for old in folder.parent.glob(f"{place}-*"):
                if old != folder:  # of the file before it changed; who has it open keeps it
                    with suppress(OSError):  # it may be somebody else's
                        remove_folder(old)
        return cls(path, folder)

    def resolve(self, contig: str) -> str | None:
        """This FASTA's name of a contig that others call `chr1`, `1`, `NC_000001.11` or `CM000663.2`, `M` or `MT`.

        None when there is none, or one that the name `contradicts`, such as an accession's version of another build. An
        exact match always wins. Where the FASTA has no such contig, 23 to 26 are PLINK's codes of X, Y, X and MT
        (`pop_plink_note`).
        """
        found = self.namesake(contig)
        if found is None or (found != contig and contradicts(contig, self.contigs[found])):
            return None
        code = plain_name(contig)
        if code in self._plink and contig not in self.contigs:
            self._plink_met.add(code)
        return found

    def namesake(self, contig: str) -> str | None:
        """The contig that goes by that name here, of whatever build; see `resolve`."""
        if contig in self.contigs:
            return contig
        name = plain_name(contig)
        return self._plink.get(name) or self._aliases.get(name)

    def pop_plink_note(self) -> str | None:
        """What to tell a person once about the codes that `resolve` has met since the last call; None for none."""
        met, self._plink_met = sorted(self._plink_met), set()
        read = ", ".join(
            f"{code} as {self._plink[code]}{' (pseudo-autosomal)' if code == '25' else ''}" for code in met
        )
        return f"contigs that the FASTA lacks are read by PLINK's codes: {read}" if read else None

    def is_circular(self, contig: str) -> bool:
        """Whether the contig's last base is followed by its first: `chrM`, `M`, `MT` of a human length."""
        return plain_name(contig) == "MT" and self.contigs[contig] in (MT_LENGTH_BP, OLD_MT_LENGTH_BP)

    @property
    def contigs_in_words(self) -> str:
        """Names of the first contigs, and how many more there are, for a message."""
        shown = list(self.contigs)[:CONTIGS_SHOWN]
        return ", ".join(shown) + (f" and {len(self.contigs) - len(shown):,} more" * (len(self.contigs) > len(shown)))

    def letter(self, contig: str, pos0: int) -> str:
        """What the FASTA has at a 0-based position, in upper case: also a code such as R, of which `bases` make N."""
        place = self._offsets[contig] + pos0
        row = int(np.searchsorted(self._codes, place << 8))
        is_code = row < len(self._codes) and int(self._codes[row]) >> 8 == place
        return chr(int(self._codes[row]) & 0xFF) if is_code else chr(self.window(contig, pos0, pos0 + 1)[0])

    def bases(self, contig: str) -> NDArray[np.uint8]:
        """All bases of a contig, ASCII (length,), a read-only view. `contig` is a name in `contigs`."""
        return self.window(contig, 0, self.contigs[contig])

    def window(self, contig: str, start_bp: int, end_bp: int) -> NDArray[np.uint8]:
        """Bases of [start_bp, end_bp), ASCII, a read-only view. Raises ValueError when the span leaves the contig.

        Of a circular contig a span over the origin, as [-100, 200) or [16,500, 16,700) of 16,569, gives a copy.
        """
        if not 0 <= start_bp <= end_bp <= self.contigs[contig] and self.is_circular(contig):
            return self.bases(contig)[np.arange(start_bp, end_bp) % self.contigs[contig]]
        self._require_span(contig, start_bp, end_bp)
        first, end = self._offsets[contig] + start_bp, self._offsets[contig] + end_bp
        self._handed_out.update(range(first >> _PLACE_BITS, (end >> _PLACE_BITS) + 1))
        if len(self._handed_out) > RESIDENT_PLACES:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._handed_out.clear()
        return self._bases[first:end]

    def soft_mask(self, contig: str, start_bp: int, end_bp: int) -> NDArray[np.bool_]:
        """Whether each base of [start_bp, end_bp) is lower case in the FASTA (a repeat, by custom)."""
        self._require_span(contig, start_bp, end_bp)
        first = (self._offsets[contig] + start_bp) // 8
        skip = start_bp % 8  # offsets are multiples of 8
        last = first + (skip + end_bp - start_bp + 7) // 8
        return np.unpackbits(self._mask[first:last])[skip : skip + end_bp - start_bp].astype(np.bool_)

    def sha256(self, contig: str, start_bp: int, end_bp: int) -> str:
        """SHA-256, hexadecimal, of the upper-case bases of [start_bp, end_bp)."""
        return hashlib.sha256(self.window(contig, start_bp, end_bp).data).hexdigest()

    def _require_span(self, contig: str, start_bp: int, end_bp: int) -> None:
        if not 0 <= start_bp <= end_bp <= self.contigs[contig]:
            raise ValueError(f"[{start_bp}, {end_bp}) is no span of {contig}, which has {self.contigs[contig]} bp")


def grid_windows(
    contig_length: int, window_bp: int, stride_bp: int, *, is_circular: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The grid of windows of a contig: starts, core starts and core ends, each (n,), 0-based half-open.

    The last window is flush with the contig's end. The core of a window holds the bases for which it is the most
    central: its centre (start + window / 2) is the nearest to the middle of the base, a tie going left. Cores tile the
    contig. A contig shorter than a window has no windows: three empty arrays.

        windows   [-----0-----)
                        [-----1-----)
                           [-----2-----)     flush
        cores     [  0    )[ 1  )[  2  )

    On a circular contig no window is flush: the grid goes on over the origin, and the first windows begin left of 0.
    """
    if window_bp < 1 or stride_bp < 1:
        raise ValueError(f"window_bp {window_bp} and stride_bp {stride_bp} must be at least 1")
    last = contig_length - window_bp
    if last < 0:
        empty = np.empty(0, dtype=np.int64)
        return empty, empty, empty
    first = -max(window_bp // stride_bp, 1) * stride_bp if is_circular else 0
    starts = np.arange(first, contig_length if is_circular else last + 1, stride_bp, dtype=np.int64)
    if not is_circular and starts[-1] != last:
        starts = np.append(starts, np.int64(last))
    # Base p has its middle at p + 1/2; it is nearest to the left centre while 2 p + 1 <= both centres together.
    borders = (starts[:-1] + starts[1:] + window_bp + 1) // 2
    return starts, np.append(np.int64(first), borders), np.append(borders, np.int64(contig_length))


def most_central(
    pos0: NDArray[np.integer], contig_length: int, window_bp: int, stride_bp: int, *, is_circular: bool = False
) -> NDArray[np.int64]:
    """Start of the window in which each 0-based position lies most centrally (n,); `NO_WINDOW` where there is none."""
    starts, core_starts, _ = grid_windows(contig_length, window_bp, stride_bp, is_circular=is_circular)
    inside = (pos0 >= 0) & (pos0 < contig_length)
    if starts.size == 0:
        return np.full(len(pos0), NO_WINDOW, dtype=np.int64)
    return np.where(inside, starts[np.searchsorted(core_starts, pos0, side="right") - 1], NO_WINDOW)


def context_margin_bp(window_bp: int, stride_bp: int) -> int:
    """DNA on either side that a position has in its most central window, unless its contig ends: 2,042 by default.

    Half of what neighbouring windows share, less the token that the six phases of a window may take. States of places
    with less are another distribution: the encoder's first tokens, and a pool that is cut off.
    """
    return max((window_bp - stride_bp) // 2 - BASES_PER_TOKEN, 0)


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _fingerprint(fasta: Path, status: os.stat_result) -> str:
    try:
        with fasta.open("rb") as file:
            ends = file.read(_END_BYTES)
            file.seek(max(status.st_size - _END_BYTES, 0))
            ends += file.read(_END_BYTES)
    except IsADirectoryError:
        raise InputError(f"{fasta} is a folder; expected a FASTA file") from None
    except PermissionError:
        raise InputError(f"FASTA {fasta} may not be read; check its permissions") from None
    identity = json.dumps([status.st_size, status.st_mtime_ns, hashlib.sha256(ends).hexdigest(), FORMAT_VERSION])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _build(fasta: Path, folder: Path) -> None:
    """Write the cache folder of a FASTA, whole or not at all; if someone was faster, keep theirs."""
    with replacing_folder(folder, overwrite=False) as temporary:
        with (
            (temporary / "bases.bin").open("wb") as bases,
            (temporary / "soft_mask.bin").open("wb") as mask,
            (temporary / "codes.bin").open("wb") as codes,
        ):
            writer = _Writer(fasta, bases, mask, codes)
            with open_bytes(fasta, "FASTA") as stream:
                for name, sequence in _sequences(stream, fasta):
                    writer.add(name, sequence)
            contigs = writer.finish()
        (temporary / "genome.json").write_text(json.dumps({"version": FORMAT_VERSION, "contigs": contigs}))


def _sequences(stream: IO[bytes], fasta: Path) -> Iterator[tuple[str | None, bytes]]:
    """(name, b"") where a contig begins, (None, bases as written, without white space) for each piece of it."""
    at_line_start = True
    while block := stream.read(_BLOCK):
        text = b"\n" + block if at_line_start else block
        last_header = text.rfind(b"\n>")
        if last_header >= 0 and text.find(b"\n", last_header + 1) < 0:
            text += stream.readline()  # the block ends inside a header line
        at_line_start = text.endswith(b"\n")
        bases, *records = text.split(b"\n>")
        yield None, bases.translate(None, b" \t\r\n")
        for record in records:
            header, _, bases = record.partition(b"\n")
            words = header.split(maxsplit=1)
            if not words or header[:1].isspace():
                raise InputError(f"FASTA {fasta} has a header line without a name; every `>` needs one")
            yield words[0].decode("ascii", "replace"), b""
            yield None, bases.translate(None, b" \t\r\n")


class _Writer:
    """Appends contigs to the three files and keeps their table."""

    def __init__(self, fasta: Path, bases: IO[bytes], mask: IO[bytes], codes: IO[bytes]) -> None:
        self._fasta, self._bases, self._mask, self._codes = fasta, bases, mask, codes
        self._contigs: list[dict[str, str | int]] = []
        self._names: set[str] = set()
        self._written = 0
        self._mask_tail = np.empty(0, dtype=np.bool_)  # fewer than 8 bits that do not fill a byte yet

    def add(self, name: str | None, sequence: bytes) -> None:
        """Begin a contig (name), or add bases to the one begun (None)."""
        if name is not None:
            if name in self._names:
                raise InputError(f"FASTA {self._fasta} holds the contig {name} twice; names must be unique")
            self._pad()
            self._names.add(name)
            self._contigs.append({"name": name, "length": 0, "offset": self._written})
        elif sequence:
            if not self._contigs:
                raise InputError(f"{self._fasta} is no FASTA: expected a line that starts with `>` before any bases")
            self._contigs[-1]["length"] = int(self._contigs[-1]["length"]) + len(sequence)
            self._append(sequence)

    def finish(self) -> list[dict[str, str | int]]:
        """The table of contigs; raises InputError when there are no bases."""
        if not self._written:
            raise InputError(f"FASTA {self._fasta} is empty: expected `>name` lines followed by bases")
        self._pad()
        return self._contigs

    def _append(self, sequence: bytes) -> None:
        self._bases.write(sequence.translate(_BASE_TABLE))
        if sequence.translate(None, b"ACGTNacgtn"):
            letters = np.frombuffer(sequence.upper(), dtype=np.uint8)
            at = np.flatnonzero(~np.isin(letters, np.frombuffer(b"ACGTN", dtype=np.uint8)))
            self._codes.write(((at + self._written).astype(np.uint64) << np.uint64(8) | letters[at]).tobytes())
        self._written += len(sequence)
        lower = np.concatenate([self._mask_tail, np.frombuffer(sequence, dtype=np.uint8) >= ord("a")])
        whole = len(lower) // 8 * 8
        self._mask.write(np.packbits(lower[:whole]).tobytes())
        self._mask_tail = lower[whole:]

    def _pad(self) -> None:
        """Fill up to a multiple of 8, so that a contig's bits begin with a byte."""
        if missing := -self._written % 8:
            self._append(b"N" * missing)
