"""Benchmarks: how well each score tells harmful alleles from harmless ones, beside what needs no model (spec 6).

Belongs here: which scores stand in a table, which groups of alleles it is made for, rows that take part and rows that
do not. Does not: the figures themselves (`metrics`), reading benchmarks (`alleles`, `layouts`), words (`report`).

Concept: ONE frame has all alleles of all benchmarks with all their scores (`evaluated`); each table is that frame cut
into groups. Every table has all heads, never only the better one, and every baseline. A higher score always means more
harmful. SNVs are also judged apart from the rest: an indel whose length is not a multiple of six shifts the encoder's
reading frame, which moves the state for a reason that is not biology. Missense alleles are judged apart because there
the class of the consequence says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from scipy.stats import spearmanr

from data_contracts.benchmark_alleles import BRCA1, BRCA2, CODING, NON_CODING, TRACKS, TRAITGYM, UNREADABLE
from data_contracts.columns import REGION_CLASSES
from geno_model.genomics.edits import EditType
from geno_pipeline.build.hashing import ALLELE_KEY
from geno_pipeline.evaluation.metrics import auprc_by_chromosome, auroc_difference, rank, spearman

SURPRISE, SURPRISE_RAW, DISPLACEMENT = "surprise (percentile)", "surprise (raw)", "displacement"
ZERO_SHOT, NO_CHANGE = "zero-shot likelihood", "no change predicted"
CONSEQUENCE, REGION, DISTANCE = "consequence class", "region class", "distance to the exon"
RANDOM, RANDOM_DISPLACEMENT = "random weights, surprise", "random weights, displacement"
HEADS = (SURPRISE, SURPRISE_RAW, DISPLACEMENT)
HUMBLE = (NO_CHANGE, ZERO_SHOT, DISTANCE, CONSEQUENCE)
"""What a reviewer asks first."""

NO_ANNOTATION = "other"
CLASS_OF_REGION = {"coding_nonsense": 2, "splice": 2, "coding_missense": 1}
TRUNCATING = ("stop_gained", "frameshift_variant", "start_lost", "splice_acceptor_variant", "splice_donor_variant")
CLASS_OF_TERM = {**dict.fromkeys(TRUNCATING, 2), "missense_variant": 1}

FREQUENCIES = ("0", "up to 0.0001", "to 0.001", "to 0.01", "above 0.01")


def frequency_bin(af: pl.Expr) -> pl.Expr:
    """One of `FREQUENCIES`; null where the frequency is."""
    none, rarest, rarer, rare, common = map(pl.lit, FREQUENCIES)
    named = pl.when(af == 0).then(none).when(af <= 1e-4).then(rarest).when(af <= 1e-3).then(rarer)
    return named.when(af <= 1e-2).then(rare).when(af > 1e-2).then(common)


# `other` is also what an exon without a coding sequence is: it says nothing only where nothing else is said.
_has_region = pl.col("region_class").is_not_null() & (pl.col("region_class") != NO_ANNOTATION).any()
_class_of_region = pl.col("region_class").replace_strict(CLASS_OF_REGION, default=0, return_dtype=pl.Float64)
_severity = {name: -rank for rank, name in enumerate(REGION_CLASSES)}
_class_of_term = pl.col("consequence").replace_strict(CLASS_OF_TERM, default=0, return_dtype=pl.Float64)
SCORES: dict[str, pl.Expr] = {
    SURPRISE: pl.col("surprise"),
    SURPRISE_RAW: pl.col("surprise_raw"),
    DISPLACEMENT: pl.col("displacement"),
    ZERO_SHOT: -pl.col("zero_shot"),
    NO_CHANGE: pl.col("no_change"),
    RANDOM: pl.col("random_surprise"),
    RANDOM_DISPLACEMENT: pl.col("random_displacement"),
    # ClinVar's own word where it has one, else that of the gene models.
    CONSEQUENCE: pl.when(pl.col("consequence").is_not_null())
    .then(_class_of_term)
    .when(_has_region)
    .then(_class_of_region)
    .when(pl.col("consequence").is_not_null().any().over("track"))
    .then(pl.lit(0.0)),  # a file that names consequences, but none for this allele
    REGION: pl.when(_has_region).then(
        pl.col("region_class").replace_strict(_severity, default=None, return_dtype=pl.Float64)
    ),
    DISTANCE: -pl.col("exon_distance_bp"),
    "GC of the window": pl.col("gc"),
    "rarity (1 - frequency)": 1 - pl.col("af"),
}
BASELINES = tuple(name for name in SCORES if name not in HEADS)
MISSENSE = (pl.col("consequence") == "missense_variant") | (
    pl.col("consequence").is_null() & (pl.col("region_class") == "coding_missense")
)
KINDS = {
    "all": pl.lit(True),
    "SNV": pl.col("edit_type") == int(EditType.SNV),
    "not SNV": pl.col("edit_type") != int(EditType.SNV),
    "missense": MISSENSE,
}
_SUB_TABLES: dict[str, pl.Expr] = {
    "edit type": pl.col("edit_type").replace_strict({int(kind): kind.name for kind in EditType}),
    "region class": pl.col("region_class"),
    "frequency": pl.coalesce(frequency_bin(pl.col("af")), pl.lit("in no site file")),
    "review stars": pl.col("stars").cast(pl.String),
}
CLINVAR = "ClinVar"
GROUPS = {CLINVAR: (CODING, NON_CODING), **{track: (track,) for track in TRACKS}}
"""Benchmarks of the tables: both tracks of ClinVar together, and each track."""

NO_FILE = "no file was given"
IN_CALIBRATION, NO_WINDOW = "in_calibration", "no_window"


@dataclass(frozen=True, slots=True)
class Figures:
    """Tables of all benchmarks; every one has `track` and a `note` where a row has no figures.

    ranking: family, subset, score: AUROC and AUPRC. differences: subset, score, against: AUROC of a head less that of a
    baseline on the same alleles. by_chromosome: weighted AUPRC, and AUROC within matched groups. correlation: Spearman
    of scores with the functional score. agreement: Spearman of two scores. counts: rows by reason and label.
    unreadable: benchmark and sentence of a file that could not be used.
    """

    ranking: pl.DataFrame
    differences: pl.DataFrame
    by_chromosome: pl.DataFrame
    correlation: pl.DataFrame
    agreement: pl.DataFrame
    counts: pl.DataFrame
    unreadable: tuple[tuple[str, str], ...] = ()


def evaluated(
    alleles: pl.DataFrame,
    scores: pl.DataFrame,
    zero_shot: pl.DataFrame,
    calibration_scores: pl.DataFrame,
    others: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Rows of BenchmarkAlleles with their scores, one column for each of `SCORES`, higher is more harmful.

    scores: BenchmarkScores of all tracks, an allele once. others: scores of other models (`layouts.read_scores`), whose
    columns beside the key join as they are. Reasons are completed: `in_calibration` (the percentiles know the allele),
    `no_window` (it could not be scored).
    """
    joined = alleles.join(scores.drop("edit_type"), on=ALLELE_KEY, how="left", maintain_order="left").join(
        zero_shot, on=ALLELE_KEY, how="left", maintain_order="left"
    )
    known = calibration_scores.select(*ALLELE_KEY, in_calibration=pl.lit(True))
    joined = joined.join(known, on=ALLELE_KEY, how="left", maintain_order="left")
    reason = (
        pl.when(pl.col("reason").is_not_null())
        .then("reason")
        .when(pl.col("in_calibration"))
        .then(pl.lit(IN_CALIBRATION))
        .when(pl.col("surprise_raw").is_null())
        .then(pl.lit(NO_WINDOW))
    )
    result = joined.with_columns(reason=reason, **{name: of.cast(pl.Float64) for name, of in SCORES.items()})
    if others is not None:
        result = result.join(others, on=ALLELE_KEY, how="left", maintain_order="left")
    return result


def figures(rows: pl.DataFrame, others: tuple[str, ...] = (), n_resamples: int = 1000, seed: int = 0) -> Figures:
    """All tables from `evaluated` rows; others: names of further scores among the columns."""
    used = rows.filter(pl.col("reason").is_null())
    names = (*SCORES, *others)
    ranking, differences, by_chromosome, correlation, agreement = [], [], [], [], []
    for track, members in GROUPS.items():
        of_track = pl.col("track").is_in(members)
        here, no_file = used.filter(of_track), None if rows.filter(of_track).height else NO_FILE
        labelled = here.filter(pl.col("label").is_not_null())
        # Both tracks of ClinVar together are a headline, not a sub-table.
        for family, subset, group in _groups(labelled, _SUB_TABLES if len(members) == 1 else {}):
            head = {"track": track, "family": family, "subset": subset}
            ranking += [head | _ranked(group, name, n_resamples, seed, no_file) for name in names]
        for subset in KINDS:
            group = labelled.filter(KINDS[subset])
            head = {"track": track, "subset": subset}
            differences += [
                head | _differs(group, a, b, n_resamples, seed) for a in HEADS for b in (*BASELINES, *others)
            ]
        if track == TRAITGYM:
            by_chromosome += [{"track": track} | _chromosomes(labelled, name, n_resamples, seed) for name in names]
        if track in (BRCA1, BRCA2):
            correlation += [{"track": track} | _correlated(here, name, n_resamples, seed) for name in names]
        agreement += [{"track": track} | row for row in _agreement(here, names)]
    parts = (ranking, differences, by_chromosome, correlation, agreement)
    tables = [pl.DataFrame(part, infer_schema_length=None) for part in parts]
    return Figures(
        tables[0],
        tables[1],
        tables[2],
        tables[3],
        tables[4],
        rows.group_by("track", "reason", "label", maintain_order=True).agg(n=pl.len()),
        tuple(rows.filter(pl.col("reason") == UNREADABLE).select("track", "note").iter_rows()),
    )


def _groups(labelled: pl.DataFrame, sub_tables: Mapping[str, pl.Expr]) -> list[tuple[str, str, pl.DataFrame]]:
    """family, subset and alleles: the kinds, then the sub-tables, without a sub-table of one group."""
    groups = [("kind", name, labelled.filter(chosen)) for name, chosen in KINDS.items()]
    for family, key in sub_tables.items():
        parts = labelled.with_columns(key.alias("_subset")).drop_nulls("_subset").partition_by("_subset", as_dict=True)
        if len(parts) > 1:
            names = sorted((str(subset) for (subset,) in parts), key=lambda name: (_place(name), name))
            groups += [(family, name, parts[(name,)].drop("_subset")) for name in names]
    return groups


def _place(subset: str) -> int:
    """Where a group stands in its sub-table: frequencies and region classes have an order of their own."""
    order = (*FREQUENCIES, *REGION_CLASSES)
    return order.index(subset) if subset in order else -1


def _ranked(group: pl.DataFrame, score: str, n_resamples: int, seed: int, no_file: str | None) -> dict[str, object]:
    judged = group.filter(pl.col(score).is_finite())
    row: dict[str, object] = {"score": score, "n_excluded": group.height - judged.height}
    if no_file or (group.height and judged.is_empty()):
        return row | asdict(rank([], [])) | {"note": no_file or _no_score(score)}
    return row | asdict(rank(judged["label"].to_numpy(), judged[score].to_numpy(), n_resamples, seed))


def _no_score(name: str) -> str:
    return f"no allele has this score{_WHY.get(name, '')}"


_WHY = {
    REGION: ": no gene models",
    CONSEQUENCE: ": no gene models, and the benchmark names no consequence",
    DISTANCE: ": no gene models",
}


def _differs(group: pl.DataFrame, a: str, b: str, n_resamples: int, seed: int) -> dict[str, object]:
    judged = group.filter(pl.col(a).is_finite() & pl.col(b).is_finite())
    label, first, second = (judged[name].to_numpy() for name in ("label", a, b))
    found = asdict(auroc_difference(label, first, second, n_resamples, seed))
    if judged.is_empty() and group.height:
        lacking = b if group.filter(pl.col(b).is_finite()).is_empty() else a
        found["note"] = _no_score(lacking)
    return {"score": a, "against": b, **found}


def _chromosomes(group: pl.DataFrame, score: str, n_resamples: int, seed: int) -> dict[str, object]:
    judged = group.filter(pl.col(score).is_finite())
    label, values, contig = (judged[name].to_numpy() for name in ("label", score, "contig"))
    found = auprc_by_chromosome(label, values, contig, n_resamples, seed)
    return {"score": score, **asdict(found), **within_groups(judged, score, n_resamples, seed)}


def within_groups(judged: pl.DataFrame, score: str, n_resamples: int, seed: int) -> dict[str, object]:
    """How often a causal allele lies above a control of its own matched group; ties are half. Resamples groups."""
    pairs = (
        judged.filter(pl.col("match_group").is_not_null())
        .select("match_group", "label", pl.col(score).alias("score"))
        .with_columns(
            # Of a group with one positive: the share of its controls below it.
            positive=pl.col("score").filter(pl.col("label") == 1).mean().over("match_group"),
            n_positive=(pl.col("label") == 1).sum().over("match_group"),
        )
        .filter((pl.col("label") == 0) & (pl.col("n_positive") == 1))
    )
    won = pairs.group_by("match_group", maintain_order=True).agg(
        ((pl.col("score") < pl.col("positive")) + (pl.col("score") == pl.col("positive")) / 2).mean().alias("won")
    )["won"]
    row: dict[str, object] = {"n_groups": len(won), "within": None, "within_low": None, "within_high": None}
    if len(won) < 2:
        return row
    chosen = np.random.default_rng(seed).integers(0, len(won), (n_resamples, len(won)))
    low, high = np.percentile(won.to_numpy()[chosen].mean(axis=1), (2.5, 97.5))
    return row | {"within": float(won.mean()), "within_low": float(low), "within_high": float(high)}  # type: ignore[arg-type]


def _correlated(rows: pl.DataFrame, score: str, n_resamples: int, seed: int) -> dict[str, object]:
    judged = rows.filter(pl.col("value").is_finite() & pl.col(score).is_finite())
    return {"score": score, **asdict(spearman(judged["value"].to_numpy(), judged[score].to_numpy(), n_resamples, seed))}


def _agreement(rows: pl.DataFrame, names: tuple[str, ...]) -> list[dict[str, object]]:
    """Spearman's rho of each pair of scores, on the alleles that have both."""
    found = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            both = rows.filter(pl.col(a).is_finite() & pl.col(b).is_finite()).select(a, b)
            varies = both.height > 2 and both[a].n_unique() > 1 and both[b].n_unique() > 1
            rho = float(spearmanr(both[a], both[b]).statistic) if varies else None  # type: ignore[attr-defined]
            found.append({"a": a, "b": b, "n": both.height, "rho": rho})
    return found
