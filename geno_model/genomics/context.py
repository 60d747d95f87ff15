"""The surroundings of an allele: region class, GC of its window, repeat class (spec 3 and 5).

Belongs here: which kind of region an allele falls into, and the folder that a release ships it in. Does not: reading
published annotation (`annotation_io`), codons (`consequence`), buckets and percentiles (scoring).

The concept: apart from codons, a region class asks only whether ANY transcript has such a region at the place. So the
spans of each class are united once per contig into sorted, disjoint spans, and a whole frame of alleles is looked up by
binary search. The most severe class wins:

    coding_nonsense > splice > coding_missense > coding_synonymous > utr5 > utr3 > promoter > intron
        > other > intergenic

           promoter      utr5  coding  splice        splice  coding    utr3
    ------|==1000 bp==|[=====|#######)gt----intron----ag[####|==============)------ intergenic      (+ strand)

- An allele is judged by the bases it changes: those that ref and alt share at their ends are trimmed first.
- splice: the two bases of an intron next to an exon, of any transcript, coding or not.
- An insertion lies between two bases. It is in an exon's coding part or in an intron when both are; at a border it
  belongs to the splice site, the UTR or the promoter there, whose edges count as inside, and so does a repeat's.
- other: an exon of a transcript without coding sequence, and everything on a contig without annotated genes, of which
  nothing is known. `enhancer` needs a track of its own and is never given here.
- Of overlapping repeats the first of simple, low_complexity, transposon, segmental_dup counts.
Coordinates are 0-based half-open, `pos` is 1-based.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_contracts import GeneAnnotation, RepeatAnnotation
from data_contracts.columns import ANNOTATED_REPEATS
from geno_model.files import replacing_folder
from geno_model.genomics.builds import plain_name
from geno_model.genomics.consequence import (
    MISSENSE,
    NONSENSE,
    NOT_CODING,
    SYNONYMOUS,
    UNKNOWN,
    ChangedSpans,
    CodingSequences,
    changed_spans,
)
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome

PROMOTER_BP = 1_000
SPLICE_BP = 2
SEVERITY = (
    "coding_nonsense",
    "splice",
    "coding_missense",
    "coding_synonymous",
    "utr5",
    "utr3",
    "promoter",
    "intron",
    "other",
    "intergenic",
)
"""Region classes that `Context.annotate` gives, the most severe first."""

_RANK = {name: rank for rank, name in enumerate(SEVERITY)}
_CODING_RANK = np.empty(5, dtype=np.int8)
_CODING_RANK[[NONSENSE, MISSENSE, SYNONYMOUS, UNKNOWN, NOT_CODING]] = [
    _RANK[name] for name in ("coding_nonsense", "coding_missense", "coding_synonymous", "coding_missense", "intergenic")
]
_REPEATS = (*ANNOTATED_REPEATS, "none")
_FORMAT_VERSION = 2
_GC_BLOCK = 1_024  # windows whose bases are in memory at once
_REQUIRED = ("contig", "pos", "ref", "alt", "window_start_bp", "window_end_bp")

Spans = tuple[NDArray[np.int64], NDArray[np.int64]]
GcEdges = tuple[float, float]


def gc_terciles(gc: NDArray[np.floating]) -> GcEdges:
    """The two edges that split the GC shares of a calibration set into thirds. Raises ValueError on an empty one."""
    if not len(gc):
        raise ValueError("no GC values to take terciles of; the calibration set is empty")
    low, high = np.quantile(np.asarray(gc, dtype=np.float64), [1 / 3, 2 / 3])
    return float(low), float(high)


def gc_bin(gc: NDArray[np.floating], edges: GcEdges) -> NDArray[np.int8]:
    """Bin of each GC share: 0 below edges[0], 1 from there, 2 from edges[1] on (n,).

    Raises ValueError for edges out of order and for NaN, the GC of a window of N, which nothing should score.
    """
    if not edges[0] <= edges[1]:
        raise ValueError(f"gc edges {edges} are out of order; expected (lower, upper)")
    values = np.asarray(gc, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError(
            f"{int(np.isnan(values).sum())} of {len(values)} GC values are NaN: windows of N have no GC bin"
        )
    return np.searchsorted(np.array(edges), values, side="right").astype(np.int8)


class Context:
    """Annotation of one genome, ready to be asked. Make one with `build` or `load`; contigs are prepared when met."""

    def __init__(self, genes: pl.DataFrame, repeats: pl.DataFrame, genome: Genome, gc_edges: GcEdges | None) -> None:
        """genes, repeats: tables whose contigs are the genome's; see `build`."""
        self._genes, self._repeats, self._genome = genes, repeats, genome
        self.gc_edges = gc_edges
        self._prepared_genes: dict[str, _ContigGenes | None] = {}
        self._prepared_repeats: dict[str, list[Spans]] = {}

    @classmethod
    def build(
        cls,
        genes: pl.DataFrame | None,
        repeats: pl.DataFrame | None,
        genome: Genome,
        gc_edges: GcEdges | None = None,
    ) -> Context:
        """Context from a GeneAnnotation and a RepeatAnnotation; None: nothing is known (`other`, `none`).

        gc_edges: the edges of the GC bins, once calibration has frozen them (`gc_terciles`).
        Raises InputError when a table has contigs that the genome lacks, or spans beyond a contig's end.
        """
        genes = _empty(GeneAnnotation) if genes is None else genes
        repeats = _empty(RepeatAnnotation) if repeats is None else repeats
        return cls(_fitted(genes, genome), _fitted(repeats, genome), genome, gc_edges)

    def with_gc_edges(self, gc_edges: GcEdges) -> Context:
        """The same annotation with the edges of the GC bins."""
        return Context(self._genes, self._repeats, self._genome, gc_edges)

    def save(self, folder: Path) -> None:
        """Write genes.parquet, repeats.parquet and context.json as `folder`; the same context gives the same bytes."""
        settings = {"format_version": _FORMAT_VERSION, "gc_edges": self.gc_edges}
        with replacing_folder(folder) as temporary:
            self._genes.write_parquet(temporary / "genes.parquet")
            self._repeats.write_parquet(temporary / "repeats.parquet")
            (temporary / "context.json").write_text(json.dumps(settings, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path, genome: Genome) -> Context:
        """Read what `save` wrote. The genome may name contigs in another way (`1`, `chr1`), or have fewer of them.

        Raises InputError when files are missing, of another version, or of a genome with other contigs.
        """
        try:
            settings = json.loads((folder / "context.json").read_text())
            genes, repeats = (pl.read_parquet(folder / f"{name}.parquet") for name in ("genes", "repeats"))
        except FileNotFoundError as error:
            raise InputError(f"context folder {folder} is incomplete: {error.filename or error} is missing") from None
        if settings["format_version"] != _FORMAT_VERSION:
            found = settings["format_version"]
            raise InputError(f"context folder {folder} has format {found}, this program reads {_FORMAT_VERSION}")
        edges = settings["gc_edges"]
        genes, repeats = (_renamed(frame, genome, folder) for frame in (genes, repeats))
        return cls.build(genes, repeats, genome, None if edges is None else (edges[0], edges[1]))

    def annotate(self, alleles: pl.DataFrame) -> pl.DataFrame:
        """Add region_class str, gc f32 and repeat_class str to alleles, rows and order kept.

        alleles: at least contig (as the genome names it), pos, ref, alt, window_start_bp, window_end_bp, within their
        contig unless that is circular. gc: share of G and C among the window's bases that are not N; NaN for a window
        of N alone.
        """
        if missing := [name for name in _REQUIRED if name not in alleles.columns]:
            raise ValueError(f"alleles lack the columns {', '.join(missing)}; needed are {', '.join(_REQUIRED)}")
        region = np.full(alleles.height, _RANK["other"], dtype=np.int8)
        repeat = np.full(alleles.height, len(_REPEATS) - 1, dtype=np.int8)
        gc = np.full(alleles.height, np.nan, dtype=np.float32)
        contigs = alleles.select("contig").with_row_index("row").group_by("contig", maintain_order=True).agg("row")
        for contig, row_list in contigs.iter_rows():
            rows = np.asarray(row_list, dtype=np.intp)
            part = alleles[rows]
            spans = changed_spans(part["pos"], part["ref"], part["alt"])
            if (genes := self._contig_genes(contig)) is not None:
                region[rows] = genes.regions(spans)
            repeat[rows] = self._repeat_ranks(contig, spans)
            gc[rows] = self._window_gc(contig, part["window_start_bp"], part["window_end_bp"])
        return alleles.with_columns(
            pl.Series("region_class", np.array(SEVERITY, dtype=object)[region], dtype=pl.String),
            pl.Series("gc", gc, dtype=pl.Float32),
            pl.Series("repeat_class", np.array(_REPEATS, dtype=object)[repeat], dtype=pl.String),
        )

    def _window_gc(self, contig: str, start_bp: pl.Series, end_bp: pl.Series) -> NDArray[np.float32]:
        """`_window_gc` of windows of a contig, which may run over the origin of a circular one."""
        first = min(0, int(start_bp.min() or 0))  # pyright: ignore[reportArgumentType]
        last = max(self._genome.contigs[contig], int(end_bp.max() or 0))  # pyright: ignore[reportArgumentType]
        return _window_gc(self._genome.window(contig, first, last), start_bp - first, end_bp - first)

    def _contig_genes(self, contig: str) -> _ContigGenes | None:
        if contig not in self._prepared_genes:
            rows = self._genes.filter(pl.col("contig") == contig)
            bases, is_mt = self._genome.bases(contig), plain_name(contig) == "MT"
            self._prepared_genes[contig] = _ContigGenes.build(rows, bases, is_mt) if rows.height else None
        return self._prepared_genes[contig]

    def _repeat_ranks(self, contig: str, spans: ChangedSpans) -> NDArray[np.int8]:
        if contig not in self._prepared_repeats:
            rows = self._repeats.filter(pl.col("contig") == contig)
            by_class = [rows.filter(pl.col("repeat_class") == name) for name in ANNOTATED_REPEATS]
            self._prepared_repeats[contig] = [_united(part["start_bp"], part["end_bp"]) for part in by_class]
        rank = np.full(len(spans.start_bp), len(_REPEATS) - 1, dtype=np.int8)
        for number in reversed(range(len(ANNOTATED_REPEATS))):
            rank[_touches(*_with_neighbours(spans), self._prepared_repeats[contig][number])] = number
        return rank


@dataclass(frozen=True)
class _ContigGenes:
    """Regions of one contig: united spans by class, the two sides of introns apart, and the coding sequences."""

    coding: CodingSequences
    donors: Spans  # the first SPLICE_BP of introns as the forward strand reads them, whichever strand the gene is on
    acceptors: Spans  # the last SPLICE_BP
    introns: Spans
    with_edges: dict[str, Spans]  # utr5, utr3, promoter and other: an insertion at their edge is inside

    @classmethod
    def build(cls, genes: pl.DataFrame, bases: NDArray[np.uint8], mitochondrial: bool) -> _ContigGenes:
        """genes: GeneAnnotation rows of the contig; bases: the contig."""
        # A trans-spliced transcript has exons on both strands: each strand is judged as a transcript of its own.
        genes = genes.with_columns(pl.concat_str("transcript_id", "strand"))
        names = ("CDS", "exon", "transcript", "selenocysteine")
        cds, exons, transcripts, selenocysteines = (genes.filter(pl.col("feature") == name) for name in names)
        introns = _introns(exons)
        start, end = pl.col("start_bp"), pl.col("end_bp")
        donors = introns.with_columns(pl.min_horizontal(start + SPLICE_BP, end).alias("end_bp"))
        acceptors = introns.with_columns(pl.max_horizontal(end - SPLICE_BP, start).alias("start_bp"))
        forward = pl.col("strand") == "+"
        promoters = transcripts.select(
            pl.when(forward).then((start - PROMOTER_BP).clip(0)).otherwise(end).alias("start_bp"),
            pl.when(forward).then(start).otherwise((end + PROMOTER_BP).clip(0, len(bases))).alias("end_bp"),
        )
        utr5, utr3 = _utrs(exons, cds)
        regions = {"utr5": utr5, "utr3": utr3, "promoter": promoters, "other": exons}
        return cls(
            coding=CodingSequences(cds, bases, selenocysteines, mitochondrial=mitochondrial),
            donors=_united(donors["start_bp"], donors["end_bp"]),
            acceptors=_united(acceptors["start_bp"], acceptors["end_bp"]),
            introns=_united(introns["start_bp"], introns["end_bp"]),
            with_edges={name: _united(part["start_bp"], part["end_bp"]) for name, part in regions.items()},
        )

    def regions(self, spans: ChangedSpans) -> NDArray[np.int8]:
        """Rank in SEVERITY of each edit's most severe region (n,)."""
        rank = _CODING_RANK[self.coding.consequences(spans)]

        def worsen(name: str, where: NDArray[np.bool_]) -> None:
            rank[where] = np.minimum(rank[where], _RANK[name])

        start, end = spans.start_bp, spans.end_bp
        is_insertion = start == end
        # An insertion at the exon's edge of a splice site disrupts it, one at the intron's edge does not: on that side
        # it is looked up by the neighbour away from the exon, so that only the exon's edge counts as inside.
        worsen("splice", _touches(start, end + is_insertion, self.donors))
        worsen("splice", _touches(start - is_insertion, end, self.acceptors))
        worsen("intron", _holds_both(spans, self.introns))
        for name, region in self.with_edges.items():
            worsen(name, _touches(*_with_neighbours(spans), region))
        return rank


def _introns(exons: pl.DataFrame) -> pl.DataFrame:
    """start_bp, end_bp of the gaps between the exons of each transcript."""
    ordered = exons.sort("transcript_id", "start_bp")
    before = pl.col("end_bp").shift(1).over("transcript_id").alias("start_bp")
    gaps = ordered.select(before, pl.col("start_bp").alias("end_bp"))
    return gaps.filter(pl.col("start_bp") < pl.col("end_bp"))


def _utrs(exons: pl.DataFrame, cds: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """5' and 3' UTR spans: what exons of coding transcripts have before and after the coding sequence."""
    coding = cds.group_by("transcript_id").agg(
        pl.col("start_bp").min().alias("coding_start_bp"), pl.col("end_bp").max().alias("coding_end_bp")
    )
    exons = exons.join(coding, on="transcript_id")
    left = exons.with_columns(pl.min_horizontal("end_bp", "coding_start_bp").alias("end_bp"))
    right = exons.with_columns(pl.max_horizontal("start_bp", "coding_end_bp").alias("start_bp"))
    is_there, forward = pl.col("start_bp") < pl.col("end_bp"), pl.col("strand") == "+"
    left, right = left.filter(is_there), right.filter(is_there)
    five = pl.concat([left.filter(forward), right.filter(~forward)])
    three = pl.concat([right.filter(forward), left.filter(~forward)])
    return five, three


def _united(start_bp: pl.Series, end_bp: pl.Series) -> Spans:
    """Disjoint, sorted spans that cover the same bases; touching ones become one, empty ones vanish."""
    start, end = start_bp.to_numpy().astype(np.int64), end_bp.to_numpy().astype(np.int64)
    start, end = start[start < end], end[start < end]
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    begins = np.ones(len(start), dtype=np.bool_)
    begins[1:] = start[1:] > reach[:-1]
    return start[begins], reach[np.append(begins[1:], True)] if len(start) else reach


def _touches(start: NDArray[np.int64], end: NDArray[np.int64], spans: Spans) -> NDArray[np.bool_]:
    """Whether each non-empty [start, end) shares a base with any of the united spans (n,)."""
    nearest = np.searchsorted(spans[1], start, side="right")  # the first span that ends after `start`
    return np.append(spans[0], np.iinfo(np.int64).max)[nearest] < end


def _with_neighbours(edits: ChangedSpans) -> Spans:
    """Changed spans in which an insertion is its two neighbours."""
    is_insertion = edits.start_bp == edits.end_bp
    return edits.start_bp - is_insertion, edits.end_bp + is_insertion


def _holds_both(edits: ChangedSpans, spans: Spans) -> NDArray[np.bool_]:
    """Whether each edit changes a base of the spans, an insertion when both its neighbours are theirs (n,)."""
    is_insertion = edits.start_bp == edits.end_bp
    left = _touches(edits.start_bp - is_insertion, edits.end_bp, spans)
    return left & _touches(edits.start_bp, edits.end_bp + is_insertion, spans)


def _window_gc(bases: NDArray[np.uint8], start_bp: pl.Series, end_bp: pl.Series) -> NDArray[np.float32]:
    """Share of G and C among the A, C, G, T of each window (n,); each different window is counted once."""
    windows = np.stack([start_bp.to_numpy(), end_bp.to_numpy()], axis=1).astype(np.int64)
    windows, row = np.unique(windows, axis=0, return_inverse=True)
    share = np.full(len(windows), np.nan, dtype=np.float32)
    lengths = windows[:, 1] - windows[:, 0]
    for length in np.unique(lengths):
        views = np.lib.stride_tricks.sliding_window_view(bases, int(length))
        of_length = np.nonzero(lengths == length)[0]
        for first in range(0, len(of_length), _GC_BLOCK):
            block = of_length[first : first + _GC_BLOCK]
            letters = views[windows[block, 0]]
            strong = np.count_nonzero((letters == ord("G")) | (letters == ord("C")), axis=1)
            known = np.count_nonzero(letters != ord("N"), axis=1)
            share[block] = np.where(known > 0, strong / np.maximum(known, 1), np.nan)
    return share[row.ravel()]


def _empty(table: type[GeneAnnotation] | type[RepeatAnnotation]) -> pl.DataFrame:
    numbers = ("start_bp", "end_bp", "phase")
    names = table.to_schema().columns
    return pl.DataFrame(schema={name: pl.Int64 if name in numbers else pl.String for name in names})


def _fitted(frame: pl.DataFrame, genome: Genome) -> pl.DataFrame:
    """The table, if all its spans are on the genome."""
    reach = frame.group_by("contig", maintain_order=True).agg(pl.col("end_bp").max())
    for contig, end in reach.iter_rows():
        if contig not in genome.contigs:
            raise InputError(f"annotation has contig {contig}, which {genome.fasta} lacks; read it with this FASTA")
        if end > genome.contigs[contig]:
            raise InputError(
                f"annotation reaches {end} on {contig}, which has {genome.contigs[contig]} bp in {genome.fasta}; "
                "annotation and FASTA are of different builds"
            )
    return frame


def _renamed(frame: pl.DataFrame, genome: Genome, folder: Path) -> pl.DataFrame:
    """Contigs as this genome names them, those that it lacks left out."""
    found = frame["contig"].unique().to_list()
    names = {name: resolved for name in found if (resolved := genome.resolve(name)) is not None}
    if found and not names:
        raise InputError(
            f"context folder {folder} has none of the contigs of {genome.fasta}; take the FASTA of its build"
        )
    kept = frame.filter(pl.col("contig").is_in(list(names)))
    return kept.with_columns(pl.col("contig").replace(names))
