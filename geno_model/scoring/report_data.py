"""What the report of a run is made from, gathered chunk by chunk (spec 5, `--report`).

Belongs here: the counts that the page shows and the alleles of its long table. Does not: words, pictures and HTML
(`report`, `report_pictures`, `report_words`).

The concept: every number of the page is a sum over groups that are few however long the input is (a bin of a contig,
a thousandth of a percentile, a reason). A chunk becomes such small tables, which are added to those of the chunks
before it; of single alleles only the first `top_n` are kept. So the size of the chunks leaves no trace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

from geno_model.genomics.alleles import RETAINED
from geno_model.genomics.edits import EditType
from geno_model.scoring.calibration import EVERYTHING, edit_class
from geno_model.scoring.known_pathogenic import IS_CARRIED, NONE_KNOWN, KnownPathogenic

HISTOGRAM_BINS = 50
CONTIG_BINS = 200
HIGH = 0.99
"""A percentile above this is called high: one common variant in a hundred has it."""
ANY_EDITS = -1

_PLACES = pl.Schema({"contig": pl.String, "bin": pl.Int64, "n": pl.Int64})
_TALLY = pl.Schema(
    {"region_class": pl.String, "bin": pl.Int64, "thousandth": pl.Int64, "is_high": pl.Boolean, "n": pl.Int64}
)
_BUCKETS = pl.Schema(
    {"region_class": pl.String, "edits": pl.String, "n_parts": pl.Int64, "n_calibration": pl.Int64, "n": pl.Int64}
)
_REASONS = pl.Schema({"reason": pl.String, "n": pl.Int64})
_TOP = pl.Schema(
    {
        "contig": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String, "edit_type": pl.String,
        "vcf_chrom": pl.String, "vcf_pos": pl.Int64, "vcf_ref": pl.String, "vcf_alt": pl.String,
        "region_class": pl.String, "repeat_class": pl.String, "surprise": pl.Float64, "surprise_raw": pl.Float32,
        "displacement": pl.Float32, "delta_loglik": pl.Float32, "bucket_id": pl.String, "n_calibration": pl.Int64,
        "confidence": pl.Float64, "low_confidence": pl.Boolean, "reason": pl.String, "is_listed": pl.Boolean,
        "is_carried": pl.Boolean,
        "_first": pl.Float64, "_second": pl.Float64, "_contig": pl.Int64, "record": pl.Int64, "alt_index": pl.Int64,
    }
)  # fmt: skip
_RANK = ("_first", "_second", "_contig", "pos", "ref", "alt", "record", "alt_index")
_RANK_FALLS = (True, True, False, False, False, False, False, False)
_PLACE = _RANK[2:]


class ReportData:
    """The counts of a run and its top alleles. Give every chunk's rows of `Scorer.score` to `add`, in their order."""

    def __init__(self, contigs: Mapping[str, int], top_n: int = 100) -> None:
        """contigs: name to length in bp (`Genome.contigs`). top_n: alleles in the long table."""
        self.contigs = dict(sorted(contigs.items(), key=lambda item: natural_key(item[0])))
        self.n_records = self.n_alleles = self.n_low_confidence = 0
        self._top_n = top_n
        self._contig_rank = {name: rank for rank, name in enumerate(self.contigs)}
        self._last_record: int | None = None
        self._places, self._tally, self._reasons = _PLACES.to_frame(), _TALLY.to_frame(), _REASONS.to_frame()
        self._buckets, self._top, self._listed = _BUCKETS.to_frame(), _TOP.to_frame(), _TOP.to_frame()
        self.pathogenic = NONE_KNOWN

    def add(self, scores: pl.DataFrame, known: pl.DataFrame | None = None) -> None:
        """Count a chunk. scores: rows of `Scorer.score`, with or without a column delta_loglik.

        surprise and surprise_raw, or displacement, may be null throughout: a head that was not asked for.
        known: those of them that ClinVar lists, as `known_alleles` gives them.
        """
        if scores.is_empty():
            return
        self.n_alleles += scores.height
        # A record whose alleles lie in two chunks is one record.
        self.n_records += scores["record"].n_unique() - int(scores["record"][0] == self._last_record)
        self._last_record = int(scores["record"][-1])
        self._reasons = _sum(self._reasons, scores.select(pl.col("reason").fill_null(RETAINED)), _REASONS)
        rows = self._rows(scores, known)
        listed = rows.filter("is_listed")
        self.pathogenic += KnownPathogenic.count(listed)
        self._listed = pl.concat([self._listed, listed]).sort(_PLACE).head(self._top_n)
        scored = scores.filter(pl.col("reason").is_null())
        self.n_low_confidence += scored.filter(pl.col("low_confidence").cast(pl.Boolean)).height
        self._places = _sum(self._places, scored.select("contig", self._contig_bin()), _PLACES)
        self._tally = _sum(self._tally, scored.select("region_class", *_percentile_groups()), _TALLY)
        self._buckets = _sum(self._buckets, _bucket_groups(scored), _BUCKETS)
        best = rows.filter(pl.col("reason").is_null())
        self._top = pl.concat([self._top, best]).sort(_RANK, descending=_RANK_FALLS).head(self._top_n)

    @property
    def n_scored(self) -> int:
        """Alleles with a score."""
        return self._count(RETAINED)

    @property
    def n_excluded(self) -> int:
        """Alleles without one."""
        return self.n_alleles - self.n_scored

    @property
    def has_percentiles(self) -> bool:
        """Whether any allele has a percentile; not so where displacement alone was asked for."""
        return bool(self._tally["thousandth"].is_not_null().any())

    @property
    def n_high(self) -> int:
        """Alleles with a percentile above `HIGH`."""
        return int(self._tally.filter("is_high")["n"].sum())

    def reasons(self) -> dict[str, int]:
        """Excluded alleles by reason, the most frequent first."""
        excluded = self._reasons.filter(pl.col("reason") != RETAINED)
        return dict(excluded.sort(["n", "reason"], descending=[True, False]).iter_rows())

    def histogram(self) -> list[int]:
        """Alleles in each fiftieth of the percentile; one of exactly 1 is in the last."""
        counts = [0] * HISTOGRAM_BINS
        by_bin = self._tally.drop_nulls("bin").group_by("bin").agg(pl.col("n").sum())
        for index, n in by_bin.iter_rows():
            counts[index] = n
        return counts

    def regions(self) -> pl.DataFrame:
        """One row a region class, the most frequent first: region_class, n, median, n_high, n_own.

        median: of the percentile, to the nearest thousandth (the lower one of two); null without percentiles. n_own:
        variants that were compared with common ones of this class.
        """
        of_region = pl.col("n").sum().over("region_class")
        cumulated = self._tally.sort("region_class", "thousandth").with_columns(
            pl.col("n").cum_sum().over("region_class").alias("_up_to"), of_region.alias("_all")
        )
        at_middle = pl.col("thousandth").filter(2 * pl.col("_up_to") >= pl.col("_all")).first()
        by_region = cumulated.group_by("region_class").agg(
            pl.col("n").sum(), (at_middle / 1000).alias("median"), pl.col("n").filter("is_high").sum().alias("n_high")
        )
        own = self._buckets.filter(pl.col("n_parts") > 0).group_by("region_class").agg(pl.col("n").sum().alias("n_own"))
        both = by_region.join(own, on="region_class", how="left").with_columns(pl.col("n_own").fill_null(0))
        return both.sort(["n", "region_class"], descending=[True, False])

    def comparisons(self) -> pl.DataFrame:
        """What percentiles are among: edits, n_parts, n (variants), least and most (calibration variants there).

        edits: a class of edits (`calibration.edit_class`). n_parts: of the bucket's name, 3 for region class, GC third
        and repeat class, 1 for region class alone, 0 for all variants of the class of edits, `ANY_EDITS` for all of
        both classes. The finest first.
        """
        groups = self._buckets.drop_nulls("n_parts").group_by("edits", "n_parts")
        n = pl.col("n_calibration")
        return groups.agg(pl.col("n").sum(), n.min().alias("least"), n.max().alias("most")).sort(
            ["n_parts", "edits"], descending=True
        )

    def places(self) -> dict[str, list[int]]:
        """Scored alleles in each of `CONTIG_BINS` equal parts of every contig that has any, in natural order."""
        counts: dict[str, list[int]] = {}
        for contig, index, n in self._places.sort("contig", "bin").iter_rows():
            counts.setdefault(contig, [0] * CONTIG_BINS)[index] = n
        return {name: counts[name] for name in self.contigs if name in counts}

    def top(self) -> pl.DataFrame:
        """The first alleles, at most top_n, by percentile, then raw surprise, then position.

        Without percentiles by displacement. Columns of `Scorer.score`, edit_type as a word, delta_loglik (or null).
        """
        return self._top.drop("_first", "_second", "_contig")

    def listed(self) -> pl.DataFrame:
        """The first alleles, at most top_n, that ClinVar lists and that a genotype carries, or may: by position.

        Columns as of `top`; reason where an allele has no score, is_carried null where genotypes do not say.
        """
        return self._listed.drop("_first", "_second", "_contig")

    def _count(self, reason: str) -> int:
        return int(self._reasons.filter(pl.col("reason") == reason)["n"].sum())

    def _contig_bin(self) -> pl.Expr:
        length = pl.col("contig").replace_strict(self.contigs, return_dtype=pl.Int64)
        return ((pl.col("pos") - 1) * CONTIG_BINS // length).clip(0, CONTIG_BINS - 1).alias("bin")

    def _rows(self, scores: pl.DataFrame, known: pl.DataFrame | None) -> pl.DataFrame:
        """The chunk's rows as the tables hold them, with what they are ranked by."""
        kinds = {int(kind): kind.name for kind in EditType}
        likelihood = [] if "delta_loglik" in scores.columns else [pl.lit(None).alias("delta_loglik")]
        key = ["record", "alt_index"]
        if known is None:
            known = scores.clear().with_columns(pl.lit(None, dtype=pl.Boolean).alias(IS_CARRIED))
        listed = known.select(*key, IS_CARRIED, pl.lit(True).alias("is_listed"))
        without = pl.col("surprise").is_null()
        rows = scores.join(listed, on=key, how="left", maintain_order="left").with_columns(
            *likelihood,
            pl.col("edit_type").replace_strict(kinds, return_dtype=pl.String),
            # -1: an allele that lacks what the others are ranked by comes last.
            pl.when(without).then(pl.col("displacement").fill_null(-1)).otherwise("surprise").alias("_first"),
            pl.when(without).then(0).otherwise(pl.col("surprise_raw").fill_null(-1)).alias("_second"),
            pl.col("contig").replace_strict(self._contig_rank, default=None, return_dtype=pl.Int64).alias("_contig"),
        )
        return rows.select(_TOP.names()).cast(_TOP)


def natural_key(contig: str) -> tuple[int, tuple[tuple[int, str], ...]]:
    """Sorts contigs as people do: chr2 before chr10, then X, Y and M, then all others."""
    bare = re.sub("^chr", "", contig, flags=re.IGNORECASE)
    sexes = {"X": 1, "Y": 2, "M": 3, "MT": 3}
    group = 0 if re.fullmatch("[0-9]+", bare) else sexes.get(bare.upper(), 4)
    parts = re.findall("[0-9]+|[^0-9]+", bare)
    return group, tuple((int(part), "") if re.fullmatch("[0-9]+", part) else (0, part) for part in (*parts, contig))


def _percentile_groups() -> list[pl.Expr]:
    """bin, thousandth, is_high: all that the page says about percentiles is a sum over these."""
    surprise = pl.col("surprise").cast(pl.Float64)
    # 0.58 * 50 is 28.999999999999996: a percentile on a bin's edge must not fall below it.
    fiftieth = (surprise * HISTOGRAM_BINS + 1e-9).floor().clip(0, HISTOGRAM_BINS - 1)
    return [
        fiftieth.alias("bin"),
        (surprise * 1000).round().alias("thousandth"),
        (surprise > HIGH).fill_null(False).alias("is_high"),
    ]


def _bucket_groups(scored: pl.DataFrame) -> pl.DataFrame:
    """Columns of `_BUCKETS` but for the count."""
    bucket = pl.col("bucket_id").cast(pl.String)
    of_region = pl.when(bucket == EVERYTHING).then(0).otherwise(bucket.str.count_matches("|", literal=True) + 1)
    return scored.select(
        "region_class",
        edit_class(scored["edit_type"]).alias("edits"),
        pl.when(bucket.is_null()).then(None)
        .when(pl.col("n_calibration") == 0).then(ANY_EDITS)
        .otherwise(of_region)
        .alias("n_parts"),
        "n_calibration",
    )  # fmt: skip


def _sum(total: pl.DataFrame, rows: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """`total` with the rows counted in. schema: of both, the count `n` last."""
    counted = rows.with_columns(pl.lit(1).alias("n")).cast(schema)
    keys = schema.names()[:-1]
    return pl.concat([total, counted]).group_by(keys).agg(pl.col("n").sum())
