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
from geno_pipeline.evaluation.benchmarks import DISPLACEMENT, HUMBLE, SURPRISE, Figures
from geno_pipeline.evaluation.document import Block, Paragraph, Table
from geno_pipeline.evaluation.rollout import ALL, overall
from geno_pipeline.evaluation.wording import figure, is_better, signed

RESEARCH_TOOL = "Research tool, not a clinical diagnostic."
SYNTHETIC = (
    "Synthetic data: the genome, the variants and their labels were made up by the pipeline. "
    "The figures say that the machinery works, nothing about human DNA."
)
NO_ANNOTATION = (
    "No gene models were given: the region class of every allele is 'other', "
    "and calibration is by GC and repeat class alone."
)
NO_CHANGE_SKILL = 0.0
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Verdict:
    """yes, no, not shown or not measured, and the sentence behind it."""

    answer: str
    sentence: str


def first_screen(
    rollout: pl.DataFrame, figures: Figures, *, profile: str, synthetic: bool, has_annotation: bool
) -> list[Block]:
    """Notices, the answer about foreseeing states, and a table of answers about telling harmful from harmless."""
    blocks: list[Block] = [Paragraph(RESEARCH_TOOL, "notice")]
    if synthetic:
        blocks.append(Paragraph(SYNTHETIC, "notice"))
    if not has_annotation:
        blocks.append(Paragraph(NO_ANNOTATION, "notice"))
    verdict = skill_verdict(rollout)
    blocks.append(
        Paragraph(f"Better than predicting no change? {verdict.answer.capitalize()}. {verdict.sentence}", "answer")
    )
    rows = [row for track in TRACKS for head in (SURPRISE, DISPLACEMENT) if (row := _answers(figures, track, head))]
    columns = ["benchmark", "score", "AUROC (95 % interval)", *(f"better than: {name}?" for name in HUMBLE), "n"]
    blocks.append(Table(columns, rows, is_wrapped=True))
    missing = [track for track in TRACKS if not any(row[0] == track for row in rows)]
    text = (
        "Answers are about telling harmful from harmless alleles: the difference of AUROC to each baseline on the same "
        "alleles, with its 95 % interval (paired bootstrap). yes and no where the interval lies on one side of 0. "
        f"Chance is 0.5. Profile {profile}."
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
    """Whether states of held-out chromosomes are foreseen better than by saying that nothing changes."""
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


def _answers(figures: Figures, track: str, head: str) -> list[str] | None:
    """One row: a head on all alleles of a benchmark; None where it has no AUROC."""
    ranked = _one(_whole(figures.ranking), track, head)
    if ranked is None or ranked["auroc"] is None:
        return None
    against = figures.differences.filter((pl.col("subset") == "all") & (pl.col("score") == head))
    n = f"{ranked['n_positive']:,} + {ranked['n_negative']:,}"
    answers = [_answer(_one(against.filter(pl.col("against") == name), track, head), n) for name in HUMBLE]
    auroc = figure(ranked["auroc"], ranked["auroc_low"], ranked["auroc_high"])
    return [track, head, auroc, *answers, n]


def _answer(row: dict[str, Any] | None, n_of_head: str) -> str:
    """yes, no or not shown with the difference, and its n where not all alleles of the head have the baseline."""
    if row is None or row["difference"] is None:
        return f"- ({row['note']})" if row and row["note"] else "-"
    n = f"{row['n_positive']:,} + {row['n_negative']:,}"
    where = "" if n == n_of_head else f", n = {n}"
    return f"{is_better(row['low'], row['high'])}: {signed(row['difference'], row['low'], row['high'])}{where}"


def _whole(ranking: pl.DataFrame) -> pl.DataFrame:
    return ranking.filter((pl.col("family") == "kind") & (pl.col("subset") == "all"))


def _one(table: pl.DataFrame, track: str, head: str) -> dict[str, Any] | None:
    rows = table.filter((pl.col("track") == track) & (pl.col("score") == head))
    return rows.row(0, named=True) if rows.height else None
