"""The first screen of the report: is the model better than what needs no model, by how much, on what n (spec 6).

Belongs here: the questions and their answers. Does not: computing a figure, and the tables below (`report_sections`).

An answer is `yes` or `no` only where the 95 % interval of the difference lies on one side of 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from data_contracts.benchmark_alleles import TRACKS
from data_contracts.columns import HOLDOUT_CHR
from geno_pipeline.evaluation.benchmarks import (
    BASELINES,
    DISPLACEMENT,
    HUMBLE,
    RANDOM,
    RANDOM_DISPLACEMENT,
    SURPRISE,
    Figures,
)
from geno_pipeline.evaluation.document import Block, Paragraph, Table
from geno_pipeline.evaluation.rollout import ALL, overall
from geno_pipeline.evaluation.wording import YES, against, figure, is_better

RESEARCH_TOOL = "Research tool, not a clinical diagnostic."
SYNTHETIC = (
    "Synthetic data: the genome, the variants and their labels were made up by the pipeline. "
    "The figures say that the machinery works, nothing about human DNA."
)
NO_ANNOTATION = (
    "No gene models were given: the region class of every allele is 'other', "
    "and percentiles do not tell kinds of region apart."
)
ONE_TRAINING = (
    "Intervals are of one trained model: they say how much a figure would change with other alleles, not how much it "
    "would change if the model were trained again."
)
HARMFUL = "Does it tell harmful alleles from harmless ones?"
NO_CHANGE_SKILL, CHANCE = 0.0, 0.5
UNTRAINED = {SURPRISE: RANDOM, DISPLACEMENT: RANDOM_DISPLACEMENT}
"""The two heads of this screen, and the same of random weights."""
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer in a word or a few, and the sentence behind it."""

    answer: str
    sentence: str


def first_screen(
    rollout: pl.DataFrame, figures: Figures, *, profile: str, synthetic: bool, has_annotation: bool
) -> list[Block]:
    """Notices, whether states are predicted, whether harmful is told from harmless, and a table of those answers."""
    blocks: list[Block] = [Paragraph(RESEARCH_TOOL, "notice")]
    if synthetic:
        blocks.append(Paragraph(SYNTHETIC, "notice"))
    if not has_annotation:
        blocks.append(Paragraph(NO_ANNOTATION, "notice"))
    verdict = skill_verdict(rollout)
    blocks.append(
        Paragraph(f"Better than predicting no change? {verdict.answer.capitalize()}. {verdict.sentence}", "answer")
    )
    verdict = separation_verdict(figures)
    blocks.append(Paragraph(f"{HARMFUL} {verdict.answer}. {verdict.sentence}", "answer"))
    rows = [row for track in TRACKS for head in UNTRAINED if (row := _answers(figures, track, head))]
    columns = ["benchmark", "score", "AUROC (95 % interval)"]
    columns += [f"better than: {name}?" for name in (*HUMBLE, "random weights", "the best baseline")] + ["n"]
    blocks.append(Table(columns, rows, is_wrapped=True))
    missing = [track for track in TRACKS if not any(row[0] == track for row in rows)]
    text = (
        "Each answer compares AUROC with that of a baseline on the same alleles: the difference and its 95 % interval "
        "(paired bootstrap), with yes or no where the interval lies on one side of 0. The best baseline is the one "
        f"with the highest AUROC there, which stands beside its name. Chance is 0.5. {ONE_TRAINING} Profile {profile}."
    )
    if missing:
        why = {
            row["track"]: row["note"] for row in _whole(figures.ranking).filter(pl.col("score") == SURPRISE).to_dicts()
        }
        why |= {track: "the file could not be used" for track, _ in figures.unreadable}
        text += " Without a figure: " + "; ".join(f"{track} ({why[track]})" for track in missing) + "."
    blocks.append(Paragraph(text))
    return blocks


def skill_verdict(rollout: pl.DataFrame) -> Verdict:
    """Whether states of held-out chromosomes are predicted better than by saying that nothing changes."""
    row = overall(rollout)
    if row is None or row["skill"] is None:
        return Verdict(NOT_MEASURED, f"There are no rows of {HOLDOUT_CHR} whose state changes.")
    sentence = (
        f"On {HOLDOUT_CHR} (chromosomes or spans that training never saw) "
        f"the skill is {figure(row['skill'], row['skill_low'], row['skill_high'], '95 % interval ')}, "
        f"n = {row['n']:,} rows: the share of the change of state that is explained (no change 0, perfect 1)."
    )
    of_holdout = (pl.col("holdout") == HOLDOUT_CHR) & (pl.col("edit_type") == ALL) & pl.col("k").is_not_null()
    weak = rollout.filter(of_holdout & (pl.col("skill_low") <= NO_CHANGE_SKILL))["k"].to_list()
    if weak:
        sentence += f" Not shown to be better at K = {', '.join(map(str, weak))}."
    answer = is_better(row["skill_low"], row["skill_high"])
    return Verdict(answer, sentence)


def separation_verdict(figures: Figures) -> Verdict:
    """On how many benchmarks a head is above chance, and whether it beats the best baseline on any."""
    whole = _whole(figures.ranking).filter(pl.col("track").is_in(TRACKS) & pl.col("score").is_in(list(UNTRAINED)))
    judged = whole.drop_nulls("auroc").to_dicts()
    if not judged:
        return Verdict(NOT_MEASURED.capitalize(), "No benchmark has figures.")
    above = [row for row in judged if row["auroc_low"] > CHANCE]
    n_above = len({row["track"] for row in above})
    n_below = len({row["track"] for row in judged if row["auroc_high"] < CHANCE})
    found = {row["track"]: _best_baseline(figures, row["track"]) for row in judged}
    best = {track: row for track, row in found.items() if row is not None}
    beaten = []
    for row in judged:
        if baseline := best.get(row["track"]):
            against_best = _difference(figures, row["track"], row["score"], baseline["score"])
            if against_best and is_better(against_best["low"], against_best["high"]) == YES:
                beaten.append(f"{row['track']} ({row['score']} over {baseline['score']})")
    sentence = f"Of {len(found)} benchmarks, a head (surprise or displacement) lies above chance on {n_above or 'none'}"
    if above:
        top = max(above, key=lambda row: row["auroc"])
        shown = figure(top["auroc"], top["auroc_low"], top["auroc_high"])
        sentence += f" (highest AUROC: {shown}, {top['score']}, {top['track']})"
    sentence += f"{f', below chance on {n_below}' if n_below else ''}, and beats the best baseline on "
    sentence += f"{'; '.join(beaten) or 'none'}."
    if best:
        aurocs = [row["auroc"] for row in best.values()]
        sentence += f" The best baselines have {min(aurocs):.2f} to {max(aurocs):.2f}."
    answer = "Yes" if beaten else "Not shown to do it better than simple rules" if above else "No"
    return Verdict(answer, sentence)


def _answers(figures: Figures, track: str, head: str) -> list[str] | None:
    """One row: a head on all alleles of a benchmark; None where it has no AUROC."""
    ranked = _one(_whole(figures.ranking), track, head)
    if ranked is None or ranked["auroc"] is None:
        return None
    n = f"{ranked['n_positive']:,} + {ranked['n_negative']:,}"
    names = (*HUMBLE, UNTRAINED[head])
    answers = [_answer(_difference(figures, track, head, name), n) for name in names]
    best = _best_baseline(figures, track)
    if best is None:
        answers.append("-")
    else:
        answer = _answer(_difference(figures, track, head, best["score"]), n)
        answers.append(f"{answer}; {best['score']} {best['auroc']:.2f}")
    auroc = figure(ranked["auroc"], ranked["auroc_low"], ranked["auroc_high"])
    return [track, head, auroc, *answers, n]


def _answer(row: dict[str, Any] | None, n_of_head: str) -> str:
    """yes, no or not shown with the difference, and its n where not all alleles of the head have the baseline."""
    if row is None or row["difference"] is None:
        return against(row)
    n = f"{row['n_positive']:,} + {row['n_negative']:,}"
    return against(row) + ("" if n == n_of_head else f", n = {n}")


def _best_baseline(figures: Figures, track: str) -> dict[str, Any] | None:
    """The row of the baseline with the highest AUROC on all alleles of a benchmark; the first of equal ones."""
    here = _whole(figures.ranking).filter((pl.col("track") == track) & pl.col("score").is_in(BASELINES))
    rows = here.drop_nulls("auroc").sort("auroc", descending=True, maintain_order=True)
    return rows.row(0, named=True) if rows.height else None


def _difference(figures: Figures, track: str, head: str, baseline: str) -> dict[str, Any] | None:
    of_all = figures.differences.filter((pl.col("subset") == "all") & (pl.col("against") == baseline))
    return _one(of_all, track, head)


def _whole(ranking: pl.DataFrame) -> pl.DataFrame:
    return ranking.filter((pl.col("family") == "kind") & (pl.col("subset") == "all"))


def _one(table: pl.DataFrame, track: str, head: str) -> dict[str, Any] | None:
    rows = table.filter((pl.col("track") == track) & (pl.col("score") == head))
    return rows.row(0, named=True) if rows.height else None
