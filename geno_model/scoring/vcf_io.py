"""Output files of scoring: annotated VCF, TSV, Parquet, JSON lines (spec 5, "geno-score").

Belongs here: one writer a format, chosen by the output's suffix, and the rule that an output appears whole or not at
all. Does not: reading VCF (`genomics.vcf_reader`), computing scores.

The concept: a writer gets the records of a chunk and the scored alleles of the same chunk, and appends. It writes to a
hidden name in the output's folder, which is renamed when all went well and removed when not. Memory does not grow.

- VCF: every input record, in its order, unchanged but for INFO fields in front of which ALT they belong to (Number=A).
- tables: one row for each ALT allele, the input's own chrom, pos, ref and alt beside the normalised ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import polars as pl
import polars.selectors as cs
import pyarrow.parquet
import pysam

from geno_model.genomics.edits import EditType
from geno_model.genomics.vcf_reader import FIXED_COLUMNS, VcfChunk
from geno_model.scoring.bgzip import BgzipFile
from geno_model.scoring.errors import OutputError
from geno_model.scoring.surprise import Heads

SUFFIXES = (".vcf", ".vcf.gz", ".tsv", ".parquet", ".jsonl")
RESEARCH_NOTICE = "Research tool, not a clinical diagnostic."
SCORED = "scored"
EXCLUDED = "excluded"

InfoField = tuple[str, str, str, str | None]
"""Name, type and description of an INFO field, and the column of the scores that it is of."""
_INFO_FIELDS: tuple[InfoField, ...] = (
    ("GLM_SIGMA", "Float", "Surprise: share of common variants of the same context that surprise less", "surprise"),
    ("GLM_RAW", "Float", "Raw surprise: norm of predicted minus encoded state", "surprise_raw"),
    ("GLM_DISP", "Float", "Displacement: 1 - cosine of predicted and reference state", "displacement"),
    ("GLM_DLL", "Float", "log p of edited DNA less that of the reference, nats; below 0: less likely", "delta_loglik"),
    ("GLM_CONF", "Float", "Confidence: calibration variants in the bucket / 1000, at most 1", "confidence"),
    ("GLM_BUCKET", "String", "Calibration bucket: region class|GC third|repeat class, or coarser", "bucket_id"),
    ("GLM_STATUS", "String", "scored, or the reason why the allele was not", None),
)
_OWN_INFO = "^(?:" + "|".join(name for name, *_ in _INFO_FIELDS) + ")="
_OWN_HEADER = ("##geno_lewm_", *(f"##INFO=<ID={name}," for name, *_ in _INFO_FIELDS))
_DIGITS = 6
_TABIX_REACH_BP = 1 << 29  # the last position that a tabix index can hold

TABLE_SCHEMA = pl.Schema(
    {
        "record": pl.Int64, "chrom": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String,
        "norm_contig": pl.String, "norm_pos": pl.Int64, "norm_ref": pl.String, "norm_alt": pl.String,
        "edit_type": pl.String, "status": pl.String, "reason": pl.String,
        "surprise": pl.Float64, "surprise_raw": pl.Float32, "displacement": pl.Float32, "delta_loglik": pl.Float32,
        "region_class": pl.String, "gc_bin": pl.Int8, "repeat_class": pl.String, "bucket_id": pl.String,
        "n_calibration": pl.Int64, "confidence": pl.Float64, "low_confidence": pl.Boolean,
    }
)  # fmt: skip
"""Columns of the table outputs. `record` counts records from 1; norm_* are null for alleles that were not scored."""
_UNASKED = {
    "surprise": ("GLM_SIGMA", "GLM_RAW", "GLM_CONF", "GLM_BUCKET"),
    "displacement": ("GLM_DISP",),
    "delta_loglik": ("GLM_DLL",),
}


class ScoreWriter(Protocol):
    """Appends chunks to an output."""

    note: str | None
    """After `finish`: what the user should know about this output, if anything."""

    def write(self, chunk: VcfChunk, scores: pl.DataFrame) -> None:
        """Append a chunk. scores: `Scorer.score` of all alleles of the chunk's records, in their order."""
        ...

    def finish(self) -> Sequence[Path]:
        """Complete the temporary file; returns files beside it that belong to it (an index)."""
        ...

    def abandon(self) -> None:
        """Let go of the temporary file."""
        ...


def output_suffix(path: Path) -> str:
    """The suffix in `SUFFIXES` that decides the format. Raises `OutputError` for any other name."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.endswith(suffix) and path.name != suffix:
            return suffix
    raise OutputError(f"output {path} has no suffix that names a format; expected one of {', '.join(SUFFIXES)}")


@contextmanager
def score_output(
    path: Path, model_id: str, heads: Heads, order: RecordOrder, folder: Path | None = None
) -> Iterator[ScoreWriter]:
    """A writer for `path`; the file appears, or replaces an older one, when the `with` ends without an error.

    heads: a VCF gets INFO fields for these. order: has seen all records when the writer finishes. folder: where it is
    written until it is whole, on the same file system; None is beside `path`.
    Raises `OutputError` at once where the folder cannot be written to. On any error nothing of the output is left.
    """
    suffix = output_suffix(path)
    temporary = _temporary_name(path)
    if folder is not None:
        temporary = folder / temporary.name
    index = Path(f"{temporary}.tbi")
    require_writable(path)
    try:
        writer = _writer(suffix, temporary, model_id, heads, order)
        try:
            yield writer
        except BaseException:
            with suppress(OSError):  # on a full disk this fails, too; the first error is the one to tell
                writer.abandon()
            raise
        has_index = index in writer.finish()
        os.replace(temporary, path)
        if suffix == ".vcf.gz":  # an index of an older file of that name would lie
            if has_index:
                os.replace(index, f"{path}.tbi")
            else:
                Path(f"{path}.tbi").unlink(missing_ok=True)
    finally:
        temporary.unlink(missing_ok=True)
        index.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Raise `OutputError` unless a file can be made beside `path`, found out by making and removing one."""
    if path.is_dir():
        raise OutputError(f"output {path} is a folder; expected the name of a file")
    temporary = _temporary_name(path)
    try:
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise OutputError(
            f"output {path} cannot be written: {path.parent}: {error.strerror}; name a folder that exists and may be "
            "written to"
        ) from None


def _temporary_name(path: Path) -> Path:
    """Hidden, in the same folder, of this process, with the suffix that pysam wants to see."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp{''.join(path.suffixes[-2:])}")


def _writer(suffix: str, temporary: Path, model_id: str, heads: Heads, order: RecordOrder) -> ScoreWriter:
    if suffix in (".vcf", ".vcf.gz"):
        return _VcfWriter(temporary, model_id, info_fields(heads), order, compress=suffix == ".vcf.gz")
    if suffix == ".parquet":
        return _ParquetWriter(temporary, model_id)
    return _TextTableWriter(temporary, is_json=suffix == ".jsonl")


def allele_table(scores: pl.DataFrame) -> pl.DataFrame:
    """Rows of the table outputs (`TABLE_SCHEMA`) from the rows of `Scorer.score`."""
    is_scored = pl.col("reason").is_null()
    names = {int(kind): kind.name for kind in EditType}
    return scores.select(
        pl.col("record") + 1,
        pl.col("vcf_chrom").alias("chrom"),
        pl.col("vcf_pos").alias("pos"),
        pl.col("vcf_ref").alias("ref"),
        pl.col("vcf_alt").alias("alt"),
        *(pl.when(is_scored).then(name).alias(f"norm_{name}") for name in ("contig", "pos", "ref", "alt")),
        pl.col("edit_type").replace_strict(names, return_dtype=pl.String),
        pl.when(is_scored).then(pl.lit(SCORED)).otherwise(pl.lit(EXCLUDED)).alias("status"),
        *list(TABLE_SCHEMA)[list(TABLE_SCHEMA).index("reason") :],
    ).cast(TABLE_SCHEMA)


def with_few_digits(table: pl.DataFrame) -> pl.DataFrame:
    """Numbers as a person reads them: to six digits, more than which a score does not have."""
    return table.with_columns(cs.float().cast(pl.Float64).round_sig_figs(_DIGITS))


def info_fields(heads: Heads) -> list[InfoField]:
    """The INFO fields of a run that has these heads."""
    unasked = {name for head, names in _UNASKED.items() if not getattr(heads, head) for name in names}
    return [field for field in _INFO_FIELDS if field[0] not in unasked]


def annotated_lines(lines: pl.DataFrame, scores: pl.DataFrame, fields: Sequence[InfoField]) -> pl.Series:
    """VCF records as text, in their order, with the INFO fields of `scores` in place of any earlier ones of ours."""
    by_record = scores.group_by("record", maintain_order=True).agg(
        *(_per_allele(column, kind).alias(name) for name, kind, _, column in fields if column),
        pl.col("reason").fill_null(SCORED).str.join(",").alias("GLM_STATUS"),
        pl.col("reason").is_null().any().alias("_has_score"),
    )
    numbers = [
        pl.when("_has_score").then(pl.concat_str(pl.lit(f"{name}="), pl.col(name)))
        for name, _, _, column in fields
        if column
    ]
    status = pl.concat_str(pl.lit("GLM_STATUS="), pl.col("GLM_STATUS"))
    kept = pl.col("info").str.split(";").list.filter(~pl.element().str.contains(_OWN_INFO) & (pl.element() != "."))
    kept = pl.when(kept.list.join(";") != "").then(kept.list.join(";"))
    info = pl.concat_str(kept, *numbers, status, separator=";", ignore_nulls=True).alias("info")
    joined = lines.join(by_record, on="record", how="left", maintain_order="left").with_columns(info)
    rest = pl.when(pl.col("rest") != "").then("rest")
    columns = [*(pl.col(name).cast(pl.String) for name in FIXED_COLUMNS), rest]
    return joined.select(pl.concat_str(columns, separator="\t", ignore_nulls=True).alias("line"))["line"]


def annotated_header(header: Sequence[str], model_id: str, fields: Sequence[InfoField]) -> list[str]:
    """The header of an annotated VCF: ours added before `#CHROM`, `##fileformat` first, whatever it was."""
    kept = [line for line in header if not line.startswith(_OWN_HEADER)]
    version = next((line for line in kept if line.startswith("##fileformat")), "##fileformat=VCFv4.2")
    above = [line for line in kept if line.startswith("##") and not line.startswith("##fileformat")]
    # A tab at the end of the line, as some published files have it, makes htslib refuse the whole file.
    columns = [line.rstrip() for line in kept if not line.startswith("##")]
    own = [
        *(f'##INFO=<ID={name},Number=A,Type={kind},Description="{text}">' for name, kind, text, _ in fields),
        f"##geno_lewm_model_id={model_id}",
        f"##geno_lewm_notice={RESEARCH_NOTICE}",
    ]
    return [version, *above, *own, *columns]


def _per_allele(column: str, kind: str) -> pl.Expr:
    """The values of one record's alleles, comma-separated, `.` where there is none."""
    value = pl.col(column).round_sig_figs(_DIGITS) if kind == "Float" else pl.col(column)
    return value.cast(pl.String).fill_null(".").str.join(",")


class _VcfWriter:
    """VCF, plain or bgzip with a tabix index."""

    def __init__(
        self, temporary: Path, model_id: str, fields: Sequence[InfoField], order: RecordOrder, *, compress: bool
    ) -> None:
        self.note: str | None = None
        self._path, self._model_id, self._compress = temporary, model_id, compress
        self._fields, self._order = fields, order
        self._file = BgzipFile(temporary) if compress else temporary.open("wb")
        self._has_header = False

    def write(self, chunk: VcfChunk, scores: pl.DataFrame) -> None:
        if not self._has_header:
            self._write(annotated_header(chunk.header, self._model_id, self._fields))
            self._has_header = True
        self._write(annotated_lines(chunk.lines, scores, self._fields).to_list(), chunk.encoding)

    def finish(self) -> Sequence[Path]:
        self._file.close()
        if not self._compress:
            return []
        if self._order.problem:
            self.note = f"no tabix index was made: {self._order.problem}"
            return []
        verbosity = pysam.set_verbosity(0)  # htslib would complain on standard error
        try:
            pysam.tabix_index(str(self._path), preset="vcf", force=True)
        except OSError:
            self.note = "no tabix index was made: htslib could not, maybe for an END in INFO beyond 536,870,911"
            return []
        finally:
            pysam.set_verbosity(verbosity)
        return [Path(f"{self._path}.tbi")]

    def abandon(self) -> None:
        self._file.close()

    def _write(self, lines: Sequence[str], encoding: str = "utf-8") -> None:
        self._file.write("".join(f"{line}\n" for line in lines).encode(encoding))


class RecordOrder:
    """Whether records come as a tabix index needs them."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self._contigs: set[str] = set()
        self._contig, self._pos = "", 0

    def see(self, lines: pl.DataFrame) -> None:
        """Look at the next records."""
        if self.problem or lines.is_empty():
            return
        blocks = lines.group_by(pl.col("chrom").rle_id().alias("block"), maintain_order=True).agg(
            pl.col("chrom").first(),
            pl.col("pos").first().alias("first"),
            pl.col("pos").last().alias("last"),
            (pl.col("pos").diff() < 0).any().alias("falls"),
        )
        if blocks["falls"].any():
            self.problem = UNSORTED
        elif int(lines["pos"].max() or 0) >= _TABIX_REACH_BP:  # pyright: ignore[reportArgumentType]
            self.problem = "positions beyond 536,870,911 need a CSI index: bcftools index -c"
        for chrom, first, last in blocks.select("chrom", "first", "last").iter_rows():
            if self.problem:
                return
            if chrom == self._contig and first < self._pos or chrom != self._contig and chrom in self._contigs:
                self.problem = UNSORTED
            self._contigs.add(chrom)
            self._contig, self._pos = chrom, last


UNSORTED = "the records are not sorted by position"


class _TextTableWriter:
    """TSV with a header line, or JSON lines."""

    def __init__(self, temporary: Path, *, is_json: bool) -> None:
        self.note: str | None = None
        self._file = temporary.open("wb")
        self._is_json = is_json
        self._has_header = False

    def write(self, chunk: VcfChunk, scores: pl.DataFrame) -> None:
        table = with_few_digits(allele_table(scores))
        if self._is_json:
            table.write_ndjson(self._file)
        else:
            table.write_csv(self._file, separator="\t", include_header=not self._has_header)
            self._has_header = True

    def finish(self) -> Sequence[Path]:
        self._file.close()
        return []

    def abandon(self) -> None:
        self._file.close()


def _arrow(table: pl.DataFrame) -> pyarrow.Table:
    return table.to_arrow(compat_level=pl.CompatLevel.oldest())  # plain strings, which every reader knows


class _ParquetWriter:
    """Parquet, one row group a chunk, the model id in the file's metadata."""

    def __init__(self, temporary: Path, model_id: str) -> None:
        self.note: str | None = None
        schema = _arrow(TABLE_SCHEMA.to_frame()).schema
        self._schema = schema.with_metadata({"geno_lewm_model_id": model_id, "geno_lewm_notice": RESEARCH_NOTICE})
        self._writer = pyarrow.parquet.ParquetWriter(temporary, self._schema, compression="zstd")

    def write(self, chunk: VcfChunk, scores: pl.DataFrame) -> None:
        self._writer.write_table(_arrow(allele_table(scores)).cast(self._schema))

    def finish(self) -> Sequence[Path]:
        self._writer.close()
        return []

    def abandon(self) -> None:
        self._writer.close()
