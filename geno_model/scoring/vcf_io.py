"""Output files of scoring: annotated VCF, TSV, Parquet, JSON lines (spec 5, "geno-score").

Belongs here: one writer a format, chosen by the output's suffix, and the rule that an output appears whole or not at
all. Does not: reading VCF (`genomics.vcf_reader`), headers (`vcf_header`), indices (`vcf_index`), computing scores.

The concept: a writer gets the records of a chunk and the scored alleles of the same chunk, and appends. What it has
written gets the output's name when all went well and is removed when not (`files`). Memory does not grow.

- VCF: every input record, in its order, unchanged but for INFO fields in front of which ALT they belong to (Number=A).
- tables: one row for each ALT allele, the input's own chrom, pos, ref and alt beside the normalised ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

import polars as pl
import polars.selectors as cs
import pyarrow.parquet

from geno_model.files import replacing_file
from geno_model.genomics.edits import EditType
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import FIXED_COLUMNS, VcfChunk
from geno_model.scoring.bgzip import BgzipFile
from geno_model.scoring.errors import OutputError
from geno_model.scoring.surprise import Heads
from geno_model.scoring.vcf_header import (
    OWN_INFO,
    RESEARCH_NOTICE,
    InfoField,
    annotated_header,
    info_fields,
    missing_contig_lines,
    provenance_lines,
)
from geno_model.scoring.vcf_index import make_index, remove_indices

SUFFIXES = (".vcf", ".vcf.gz", ".tsv", ".parquet", ".jsonl")
SCORED = "scored"
EXCLUDED = "excluded"
_DIGITS = 6

TABLE_SCHEMA = pl.Schema(
    {
        "record": pl.Int64, "chrom": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String,
        "norm_contig": pl.String, "norm_pos": pl.Int64, "norm_ref": pl.String, "norm_alt": pl.String,
        "edit_type": pl.String, "status": pl.String, "reason": pl.String,
        "surprise": pl.Float64, "surprise_raw": pl.Float32, "displacement": pl.Float32, "delta_loglik": pl.Float32,
        "region_class": pl.String, "gc_bin": pl.Int8, "repeat_class": pl.String, "bucket_id": pl.String,
        "n_calibration": pl.Int64, "confidence": pl.Float64, "low_confidence": pl.Boolean,
        "clinvar_pathogenic": pl.Boolean,
    }
)  # fmt: skip
"""Columns of the table outputs. `record` counts records from 1; norm_* are null for alleles that were not scored."""


class ScoreWriter(Protocol):
    """Appends chunks to an output."""

    note: str | None
    """After `finish`: what the user should know about this output, if anything."""

    def write(self, chunk: VcfChunk, scores: pl.DataFrame) -> None:
        """Append a chunk. scores: `Scorer.score` of all alleles of the chunk's records, in their order."""
        ...

    def finish(self) -> None:
        """Complete the temporary file."""
        ...

    def abandon(self) -> None:
        """Let go of the temporary file."""
        ...


def output_suffix(path: Path, suffixes: Sequence[str] = SUFFIXES) -> str:
    """The one of `suffixes` that decides the format. Raises `OutputError` for any other name."""
    for suffix in sorted(suffixes, key=len, reverse=True):
        if path.name.endswith(suffix) and path.name != suffix:
            return suffix
    raise OutputError(f"output {path} has no suffix that names a format; expected one of {', '.join(suffixes)}")


@contextmanager
def score_output(
    path: Path, model_id: str, heads: Heads, order: RecordOrder, genome: Genome, contigs: Sequence[str] = ()
) -> Iterator[ScoreWriter]:
    """A writer for `path`; the file appears, or replaces an older one, when the `with` ends without an error.

    heads: a VCF gets INFO fields for these. order: has seen all records when the writer finishes. genome, contigs: of
    which a VCF gets the `##contig` lines that it lacks; contigs: names in the records that are known beforehand.
    Raises `OutputError` at once where the folder cannot be written to. On any error nothing of the output is left.
    """
    suffix = output_suffix(path)
    require_writable(path)
    with replacing_file(path) as temporary:
        if suffix in (".vcf", ".vcf.gz"):
            file = BgzipFile(temporary) if suffix == ".vcf.gz" else temporary.open("wb")
            writer = _VcfWriter(file, model_id, info_fields(heads), genome, contigs)
        elif suffix == ".parquet":
            writer = _ParquetWriter(temporary, model_id)
        else:
            writer = _TextTableWriter(temporary, model_id, is_json=suffix == ".jsonl")
        try:
            yield writer
        except BaseException:
            with suppress(OSError):  # on a full disk this fails, too; the first error is the one to tell
                writer.abandon()
            raise
        writer.finish()
        if suffix == ".vcf.gz":
            remove_indices(path)
    if suffix == ".vcf.gz":
        writer.note = make_index(path, genome.contigs) if order.is_sorted else f"no index was made: {UNSORTED}"


def require_writable(path: Path) -> None:
    """Raise `OutputError` unless a file can be made in the folder of `path`, found out by making one without a name."""
    if path.is_dir():
        raise OutputError(f"output {path} is a folder; expected the name of a file")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(
            f"output {path} cannot be written: {path.parent}: {error.strerror}; name a folder that exists and may be "
            "written to"
        ) from None


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
    kept = pl.col("info").str.split(";").list.filter(~pl.element().str.contains(OWN_INFO) & (pl.element() != "."))
    kept = kept.list.join(";").str.strip_chars_end(";")  # `X=a;` goes on as `X=a;GLM_...`
    kept = pl.when(kept != "").then(kept)
    info = pl.concat_str(kept, *numbers, status, separator=";", ignore_nulls=True).alias("info")
    joined = lines.join(by_record, on="record", how="left", maintain_order="left").with_columns(info)
    rest = pl.when(pl.col("rest") != "").then("rest")
    columns = [*(pl.col(name).cast(pl.String) for name in FIXED_COLUMNS), rest]
    return joined.select(pl.concat_str(columns, separator="\t", ignore_nulls=True).alias("line"))["line"]


def _per_allele(column: str, kind: str) -> pl.Expr:
    """The values of one record's alleles, comma-separated, `.` where there is none."""
    value = pl.col(column).round_sig_figs(_DIGITS) if kind == "Float" else pl.col(column)
    return value.cast(pl.String).fill_null(".").str.join(",")


class _VcfWriter:
    """VCF, plain or bgzip."""

    def __init__(
        self,
        file: BgzipFile | BinaryIO,
        model_id: str,
        fields: Sequence[InfoField],
        genome: Genome,
        contigs: Sequence[str],
    ) -> None:
        self.note: str | None = None
        self._file, self._model_id, self._fields = file, model_id, fields
        self._genome, self._contigs = genome, contigs
        self._has_header = False

    def write(self, chunk: VcfChunk, scores: pl.DataFrame) -> None:
        if not self._has_header:
            names = [*self._contigs, *chunk.lines["chrom"].unique(maintain_order=True)]
            contig_lines = missing_contig_lines(chunk.header, names, self._genome)
            self._write(annotated_header(chunk.header, self._model_id, self._fields, contig_lines))
            self._has_header = True
        self._write(annotated_lines(chunk.lines, scores, self._fields).to_list(), chunk.encoding)

    def finish(self) -> None:
        self._file.close()

    def abandon(self) -> None:
        self._file.close()

    def _write(self, lines: Sequence[str], encoding: str = "utf-8") -> None:
        self._file.write("".join(f"{line}\n" for line in lines).encode(encoding))


class RecordOrder:
    """Whether records come as an index needs them."""

    def __init__(self) -> None:
        self.is_sorted = True
        self._contigs: set[str] = set()
        self._contig, self._pos = "", 0

    def see(self, lines: pl.DataFrame) -> None:
        """Look at the next records."""
        if not self.is_sorted or lines.is_empty():
            return
        blocks = lines.group_by(pl.col("chrom").rle_id().alias("block"), maintain_order=True).agg(
            pl.col("chrom").first(),
            pl.col("pos").first().alias("first"),
            pl.col("pos").last().alias("last"),
            (pl.col("pos").diff() < 0).any().alias("falls"),
        )
        self.is_sorted = not blocks["falls"].any()
        for chrom, first, last in blocks.select("chrom", "first", "last").iter_rows():
            if chrom == self._contig and first < self._pos or chrom != self._contig and chrom in self._contigs:
                self.is_sorted = False
            self._contigs.add(chrom)
            self._contig, self._pos = chrom, last


UNSORTED = "the records are not sorted by position"


class _TextTableWriter:
    """TSV with comments and a header line, or JSON lines. Each JSON object names the model, as JSON has no comments."""

    def __init__(self, temporary: Path, model_id: str, *, is_json: bool) -> None:
        self.note: str | None = None
        self._file = temporary.open("wb")
        self._model_id, self._is_json = model_id, is_json
        self._has_header = False

    def write(self, chunk: VcfChunk, scores: pl.DataFrame) -> None:
        table = with_few_digits(allele_table(scores))
        if self._is_json:
            same = {"model_id": self._model_id, "notice": RESEARCH_NOTICE}
            table.with_columns(pl.lit(text).alias(name) for name, text in same.items()).write_ndjson(self._file)
            return
        if not self._has_header:
            self._file.write("".join(f"{line}\n" for line in provenance_lines(self._model_id)).encode())
        table.write_csv(self._file, separator="\t", include_header=not self._has_header)
        self._has_header = True

    def finish(self) -> None:
        self._file.close()

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

    def finish(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        self._writer.close()
