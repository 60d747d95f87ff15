"""The sections of the report below its first screen (spec 6).

Belongs here: the words and tables of one section each, from tables that are made elsewhere. Does not: the first screen
(`first_screen`), the order of the sections and the files (`report`), computing a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from data_contracts.benchmark_alleles import BRCA1, BRCA2, TRACKS, TRAITGYM
from geno_pipeline.evaluation import plots
from geno_pipeline.evaluation.benchmarks import (
    BASELINES,
    CLINVAR,
    CONSEQUENCE,
    GROUPS,
    HEADS,
    HUMBLE,
    KINDS,
    NO_CHANGE,
    RANDOM,
    SURPRISE,
    ZERO_SHOT,
    Figures,
)
from geno_pipeline.evaluation.document import Block, Heading, Paragraph, Picture, Table
from geno_pipeline.evaluation.first_screen import CHANCE, ONE_TRAINING
from geno_pipeline.evaluation.history import MOST_WORSE
from geno_pipeline.evaluation.rollout import ALL
from geno_pipeline.evaluation.wording import (
    NO,
    NOT_SHOWN,
    YES,
    against,
    anything,
    area,
    figure,
    is_better,
    number,
    signed,
)

SHORT = (*HEADS, ZERO_SHOT, NO_CHANGE, CONSEQUENCE)
"""Scores of the sub-tables; the metrics file has all of them."""


def change_section(
    changes: pl.DataFrame, worse: Sequence[str], *, has_earlier: bool, model: str, released: bool
) -> list[Block]:
    """What has moved since the last report (model: whether the model has), and what is worse than the last release."""
    blocks: list[Block] = [Heading("Since the last report")]
    if not has_earlier:
        blocks.append(Paragraph("This is the first report here."))
    else:
        rows = [
            [row["figure"], row["of"], f"{row['before']:.3f}", f"{row['now']:.3f}", f"{row['change']:+.3f}"]
            + [f"{row['n_before']:,}", f"{row['n_now']:,}"]
            for row in changes.iter_rows(named=True)
        ]
        blocks += [Paragraph(model), Table(["figure", "of", "before", "now", "change", "n before", "n now"], rows)]
    limits = " and ".join(f"{limit:.2f} {name}" for name, limit in MOST_WORSE.items())
    if not released:
        blocks.append(Paragraph("There is no release yet to compare with."))
    elif worse:
        blocks += [Paragraph(f"Worse than the last release by more than {limits}:"), *map(Paragraph, worse)]
    else:
        blocks.append(Paragraph(f"Nothing is worse than in the last release by more than {limits}."))
    return blocks


def benchmark_section(figures: Figures, rows: pl.DataFrame) -> list[Block]:
    """Every score on every benchmark, the curves, what took part."""
    blocks: list[Block] = [
        Heading("Benchmarks: harmful against harmless"),
        Paragraph(
            "ClinVar: pathogenic or likely so (P/LP) against benign or likely so (B/LB), coding by ClinVar's own "
            "consequence. BRCA1 and BRCA2: loss of function against the rest of a saturation screen. TraitGym: causal "
            "regulatory variants against matched controls. A higher score means more harmful (the signs of likelihood "
            "and distance are turned). By chance AUROC is 0.5 and AUPRC the share of positives. A score leaves out the "
            "alleles that it does not know (excluded). Alleles that training or calibration used are left out by all; "
            "for BRCA1, BRCA2 and TraitGym the DNA around the alleles was not held out."
        ),
    ]
    for track in GROUPS:
        blocks += _ranking(track, figures.ranking.filter((pl.col("family") == "kind") & (pl.col("track") == track)))
    blocks += [
        Picture("roc", plots.roc(rows), "ROC curves by benchmark; n in the titles"),
        Picture("precision_recall", plots.precision_recall(rows), "Precision and recall by benchmark; n in the titles"),
        Picture("percentiles", plots.percentile_histogram(rows), "Surprise percentiles by class; n in the legends"),
    ]
    return [
        *blocks,
        *_differences(figures),
        *_sub_tables(figures),
        *_screens(figures),
        *_agreement(figures),
        *_counts(figures),
    ]


def _ranking(track: str, table: pl.DataFrame) -> list[Block]:
    """A table of one benchmark: a row a score, AUROC by kind of allele and AUPRC of all."""
    if table["auroc"].null_count() == table.height:
        reasons = ", ".join(table.filter(pl.col("subset") == "all")["note"].drop_nulls().unique(maintain_order=True))
        return [Heading(track, 3), Paragraph(f"No figures: {reasons}.")]
    found = {(row["score"], row["subset"]): row for row in table.iter_rows(named=True)}
    cells = []
    for score in table["score"].unique(maintain_order=True):
        whole = found[score, "all"]
        aurocs = [area(found[score, kind], "auroc") for kind in KINDS]
        auprc = "" if whole["note"] else area(whole, "auprc")
        cells.append([score, aurocs[0], auprc, *aurocs[1:], _n(whole), f"{whole['n_excluded']:,}"])
    sizes = {kind: _n(found[SURPRISE, kind]) for kind in KINDS}
    columns = [
        "score",
        f"AUROC, all (n = {sizes['all']})",
        f"AUPRC, all (share positive {_share(found[SURPRISE, 'all'])})",
    ]
    columns += [f"AUROC, {kind} (n = {sizes[kind]})" for kind in KINDS if kind != "all"]
    return [Heading(track, 3), Table([*columns, "n of this score", "excluded"], cells, is_wrapped=True)]


def _differences(figures: Figures) -> list[Block]:
    """AUROC of each head less that of each baseline, by benchmark and kind of allele."""
    known = figures.differences.filter(pl.col("difference").is_not_null())
    if known.is_empty():
        return []
    others = [name for name in known["against"].unique(maintain_order=True) if name not in BASELINES]
    names = [*HUMBLE, RANDOM, *others]
    rows = []
    rest = figures.differences.join(known, on=["track", "subset", "score"], how="semi", maintain_order="left")
    for (track, subset, score), group in rest.group_by("track", "subset", "score", maintain_order=True):
        found = {row["against"]: row for row in group.iter_rows(named=True)}
        cells = [against(r) + (f", n = {_n(r)}" if r and r["difference"] is not None else "")
                 for r in map(found.get, names)]  # fmt: skip
        rows.append([track, subset, score, *cells])
    answers = [is_better(row["low"], row["high"]) for row in known.iter_rows(named=True)]
    text = (
        f"Of {len(answers):,} differences {answers.count(YES):,} lie above 0 (yes: the head is better), "
        f"{answers.count(NO):,} below (no), {answers.count(NOT_SHOWN):,} have an interval that holds 0. "
        "Those to region class, GC and frequency are in eval_metrics.json."
    )
    table = Table(
        ["benchmark", "alleles", "score", *(f"better than: {name}?" for name in names)], rows, is_wrapped=True
    )
    return [Heading("Against the baselines, on the same alleles", 3), Paragraph(text), table]


def _sub_tables(figures: Figures) -> list[Block]:
    blocks: list[Block] = []
    rest = figures.ranking.filter((pl.col("family") != "kind") & pl.col("score").is_in(SHORT))
    for (family,), table in rest.group_by("family", maintain_order=True):
        rows = []
        for (track, subset), group in table.group_by("track", "subset", maintain_order=True):
            by_score = {row["score"]: row for row in group.iter_rows(named=True)}
            first = by_score[SURPRISE]
            if track in TRACKS:
                cells = [_brief(by_score[score]) for score in SHORT]
                rows.append([track, subset, *cells, _n(first)])
        blocks += [
            Heading(f"AUROC by {family}", 3),
            Table(["benchmark", str(family), *SHORT, "n"], rows, is_wrapped=True),
        ]
    return blocks


def _screens(figures: Figures) -> list[Block]:
    """Spearman with the functional score; AUPRC by chromosome and matched groups."""
    blocks: list[Block] = []
    correlated = figures.correlation.filter(pl.col("n") > 0)
    if correlated.height:
        cells = [
            [row["track"], row["score"], row["note"] or figure(row["rho"], row["low"], row["high"]), f"{row['n']:,}"]
            for row in correlated.iter_rows(named=True)
        ]
        text = "In both screens a low functional score is harmful, so a good score has a negative correlation."
        blocks += [
            Heading("Spearman with the functional score", 3),
            Paragraph(text),
            Table(["benchmark", "score", "rho (95 % interval)", "n"], cells),
        ]
    causal = figures.by_chromosome.filter(pl.col("n_positive") > 0)
    if causal.height:
        cells = [
            [row["score"], row["note"] or figure(row["auprc"], row["low"], row["high"]), str(row["n_chromosomes"])]
            + [figure(row["within"], row["within_low"], row["within_high"]), f"{row['n_groups']:,}"]
            + [_n(row)]
            for row in causal.iter_rows(named=True)
        ]
        columns = ["score", "AUPRC by chromosome, weighted (95 % interval)", "chromosomes"]
        columns += ["above its matched controls (95 % interval)", "groups", "n"]
        blocks += [Heading("TraitGym: by chromosome, and within matched groups", 3), Table(columns, cells)]
    return blocks


def _agreement(figures: Figures) -> list[Block]:
    """Spearman between the heads and every score."""
    table = figures.agreement.filter(pl.col("track").is_in([CLINVAR, BRCA1, BRCA2, TRAITGYM]) & (pl.col("n") > 2))
    with_head = table.filter(pl.col("a").is_in(HEADS))
    names = [name for name in with_head["b"].unique(maintain_order=True) if name not in HEADS[:1]]
    rows = []
    for (track, a), group in with_head.group_by("track", "a", maintain_order=True):
        rho = dict(group.select("b", "rho").iter_rows())
        rows.append([track, a, *("" if rho.get(name) is None else f"{rho[name]:+.2f}" for name in names)])
    if not rows:
        return []
    text = "Spearman's rho of two scores over the alleles that have both. All pairs are in eval_metrics.json."
    return [
        Heading("How alike the scores are", 3),
        Paragraph(text),
        Table(["benchmark", "score", *names], rows, is_wrapped=True),
    ]


def _counts(figures: Figures) -> list[Block]:
    counts = figures.counts.sort("track", "reason", "label", nulls_last=False).fill_null("used")
    rows = [
        [row["track"], row["reason"], {1: "harmful", 0: "harmless", None: "no label"}[row["label"]], f"{row['n']:,}"]
        for row in counts.iter_rows(named=True)
    ]
    notes = [Paragraph(f"{track}: {note}") for track, note in figures.unreadable]
    table = Table(["benchmark", "used, or reason", "class", "rows"], rows)
    return [Heading("What was used and what was left out", 3), *notes, table]


def rollout_section(rollout: pl.DataFrame) -> list[Block]:
    """Predicted against true states, by number of edits."""
    columns = ["holdout", "edits K", "kind of edit", "n", "skill (95 % interval)"]
    columns += ["no change", "ridge", "random weights", "cosine of change"]
    columns += ["1 - cosine", "1 - cosine, no change", "L2", "L2, no change"]
    rows = [
        [
            row["holdout"],
            "all" if row["k"] is None else str(row["k"]),
            row["edit_type"],
            f"{row['n']:,}",
            figure(row["skill"], row["skill_low"], row["skill_high"]),
            "0",
            number(row["ridge_skill"], ".3f"),
            number(row["random_skill"], ".3f"),
            number(row["delta_cosine"], ".3f"),
            *(number(1 - row[name], ".2e") for name in ("cosine", "naive_cosine")),
            *(number(row[name], ".2e") for name in ("l2", "naive_l2")),
        ]
        for row in rollout.iter_rows(named=True)
    ]
    recalled = [
        [row["holdout"], "all" if row["k"] is None else str(row["k"]), row["edit_type"], f"{row['n']:,}"]
        + [number(row[name], ".3f") for name in ("recall_1", "naive_recall_1", "recall_5", "naive_recall_5")]
        for row in rollout.iter_rows(named=True)
    ]
    text = (
        "Each row of K edits is judged after its last edit. "
        "Skill = 1 - sum of squared errors over sum of squared changes. "
        "Ridge regression is given the predictor's own inputs; random weights are those of an untrained predictor. "
        "On holdout-chr chains are synthetic, on holdout-haplotypes they are real. "
        "The intervals resample rows; rows of one window are not independent, so they are somewhat too narrow. "
        f"{ONE_TRAINING} "
        "An indel whose length is not a multiple of six shifts the encoder's reading frame: "
        "compare kinds of edit with care."
    )
    counted = rollout.filter((pl.col("edit_type") == ALL) & pl.col("k").is_not_null())["n"].sum()
    caption = f"Skill after the last of K edits, by holdout, n = {counted:,}; bars are 95 % intervals"
    return [
        Heading("Rollout: predicted against true states"),
        Paragraph(text),
        Picture("skill_by_k", plots.skill_by_k(rollout), caption),
        Table(columns, rows),
        Paragraph(
            "Recall@k: how often a row's own change of state is among the k, of all n, that lie nearest to the change "
            "predicted for it. Predicting no change finds k of n."
        ),
        Table([*columns[:4], "recall@1", "no change", "recall@5", "no change"], recalled),
    ]


def reliability_section(table: pl.DataFrame) -> list[Block]:
    """Whether percentiles hold for common variants that are not in the table."""
    n = sum(group["n"][0] for _, group in table.group_by("edits"))
    text = (
        "The calibration's variants are split in two at random, and each half is looked up in tables made from the "
        "other. If percentiles are right, a share p of unseen common variants has a percentile of at most p. "
        "Bars are 95 % intervals."
    )
    caption = f"Reliability of percentiles, n = {n:,} common variants"
    return [Paragraph(text), Picture("reliability", plots.reliability(table), caption)]


def population_section(table: pl.DataFrame) -> list[Block]:
    """The benchmarks by frequency in each population."""
    rows = [
        [row["population"], row["frequency"], f"{row['n_positive']:,} + {row['n_negative']:,}", area(row, "auroc")]
        + [number(row["benign_median"], ".2f"), number(row["benign_high"], ".2f")]
        for row in table.iter_rows(named=True)
    ]
    columns = ["population", "frequency there", "n", "AUROC, surprise (percentile)", "harmless: median", "above 0.95"]
    text = (
        "ClinVar's alleles. About 0.05 of the harmless ones should lie above the percentile 0.95, in every population. "
        "Frequencies come from the site files; an allele that is not in them is in no row."
    )
    body: list[Block] = [Table(columns, rows)] if rows else [Paragraph("The site files have none of the alleles.")]
    return [Heading("By frequency and population"), Paragraph(text), *body]


def efficiency_section(table: pl.DataFrame, machine: Mapping[str, str]) -> list[Block]:
    """Seconds, memory and tokens of scoring."""
    rows = [
        [row["what"], f"{row['n_variants']:,}", f"{row['median_s']:.3f} ({row['low_s']:.3f} to {row['high_s']:.3f})"]
        + [f"{row['variants_per_s']:,.1f}", f"{row['tokens_per_variant']:,.0f}", f"{row['peak_memory_mib']:,.0f}"]
        + [str(row["n_repeats"])]
        for row in table.iter_rows(named=True)
    ]
    columns = ["what", "variants", "seconds: median (least to most)", "variants / s", "tokens / variant"]
    columns += ["peak memory, MiB", "repeats"]
    where = ", ".join(f"{name} {value}" for name, value in machine.items())
    text = f"One thread, on: {where}. Cold includes starting Python; peak memory is of the whole process."
    return [Heading("Efficiency"), Paragraph(text), Table(columns, rows)]


def data_section(accounting: pl.DataFrame, mix: pl.DataFrame, facts: Mapping[str, str]) -> list[Block]:
    """What was read and what it was trained on."""
    blocks: list[Block] = [
        Heading("Data"),
        Paragraph("Every allele that was read, by what became of it:"),
        Table(
            ["input", "retained or reason", "alleles"],
            [[str(a), str(b), f"{n:,}"] for a, b, n in by_reason(accounting).iter_rows()],
        ),
        Paragraph("Training edits by source, asked for and obtained:"),
        Table(mix.columns, [[anything(value) for value in row] for row in mix.iter_rows()]),
    ]
    if facts:
        blocks.append(Table(["fact", "value"], [[name, value] for name, value in facts.items()]))
    return blocks


def by_reason(accounting: pl.DataFrame) -> pl.DataFrame:
    """source, reason, n_alleles over all contigs; what was retained first."""
    totals = accounting.group_by("source", "reason").agg(pl.col("n_alleles").sum())
    first = pl.col("reason").str.starts_with("retained").cast(pl.Int8)
    return totals.sort("source", first, "n_alleles", "reason", descending=[False, True, True, False])


def negative_results(rollout: pl.DataFrame, figures: Figures) -> list[str]:
    """One sentence for each skill that is not above no change or ridge, and each AUROC of a head not above chance."""
    found = []
    for row in rollout.filter(pl.col("skill_low") <= 0).iter_rows(named=True):
        shown = figure(row["skill"], row["skill_low"], row["skill_high"])
        which = "below 0, worse than no change" if row["skill_high"] < 0 else "not shown to be above 0 (no change)"
        found.append(f"Skill on {_group(row)} is {shown}, {which}, n = {row['n']:,}.")
    for row in rollout.filter(pl.col("skill") <= pl.col("ridge_skill")).iter_rows(named=True):
        skill, ridge = f"{row['skill']:.3f}", f"{row['ridge_skill']:.3f}"
        found.append(f"Skill on {_group(row)} is {skill}; ridge regression on the same inputs has {ridge}.")
    heads = figures.ranking.filter(pl.col("score").is_in(HEADS) & (pl.col("family") == "kind"))
    for row in heads.filter(pl.col("auroc_low") <= CHANCE).iter_rows(named=True):
        shown = figure(row["auroc"], row["auroc_low"], row["auroc_high"])
        which = "below chance" if row["auroc_high"] < CHANCE else "not shown to be above chance"
        found.append(f"AUROC of {row['score']} on {row['track']} ({row['subset']}) is {shown}, {which}.")
    return found


def negative_differences(figures: Figures) -> list[str]:
    """One sentence for each difference of AUROC to a baseline whose interval does not lie above 0."""
    return [
        f"AUROC of {row['score']} on {row['track']} ({row['subset']}) less that of {row['against']}: "
        f"{signed(row['difference'], row['low'], row['high'])}."
        for row in figures.differences.filter(pl.col("low") <= 0).iter_rows(named=True)
    ]


def _group(row: Mapping[str, Any]) -> str:
    edits = "rows of any K" if row["k"] is None else f"K = {row['k']}"
    return f"{row['holdout']}, {edits}" + ("" if row["edit_type"] == ALL else f", {row['edit_type']}")


def _n(row: Mapping[str, Any]) -> str:
    return f"{row['n_positive']:,} + {row['n_negative']:,}"


def _share(row: Mapping[str, Any]) -> str:
    total = row["n_positive"] + row["n_negative"]
    return f"{row['n_positive'] / total:.2f}" if total else ""


def _brief(row: Mapping[str, Any]) -> str:
    if row["auroc"] is None:
        return "-"
    return figure(row["auroc"], row["auroc_low"], row["auroc_high"])
