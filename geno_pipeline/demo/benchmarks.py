"""Benchmark tables of the demo, in the layouts of the published ones (spec 6).

Belongs here: two saturation screens and a set of regulatory variants with matched controls, as frames. Does not belong
here: writing them (write.py), the harm that their labels come from (effects.py).

Concept: a screen tries every change of a gene's coding bases and splice sites in a cell; its score is 0 for what does
no harm and falls with it, with noise. Both screens lie on the contig that the demo holds out, if it
has one of that name.
Every table draws from a stream of its own, so that the other files do not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_pipeline.demo.config import DemoConfig, generator
from geno_pipeline.demo.effects import Effects, Term
from geno_pipeline.demo.genes import Gene, positions_of
from geno_pipeline.demo.genome import ContigGenome
from geno_pipeline.demo.sequence import LETTERS

SCREENED_CONTIG = "chr21"
BRCA1_BASES, BRCA2_BASES = 300, 80
WINDOW_BP = 8_192
CAUSAL_A_CONTIG, CONTROLS = 12, 9
_INTRON_BP = 8
_LOSS_PER_HARM, _NOISE = -2.0, 0.35
_LOF, _INTERMEDIATE = -1.2, -0.8  # a score below is loss of function, one between is intermediate
_UNSCORED = 0.03
_REGULATORY = (Term.UPSTREAM, Term.UTR5, Term.INTRON, Term.UTR3)
_CAUSAL_HARM, _CONTROL_HARM = 0.4, 0.1

Drawn = tuple[ContigGenome, Effects]


def brca1_like(drawn: Sequence[Drawn], config: DemoConfig) -> pl.DataFrame:
    """Findlay 2018's columns: all SNVs of up to `BRCA1_BASES` bases of a gene."""
    screen = _screen(drawn, config, "brca1", 0, BRCA1_BASES)
    return screen.select(
        "gene",
        pl.col("contig").str.strip_prefix("chr").alias("chromosome"),
        pl.col("pos").alias("position (hg19)"),
        pl.col("ref").alias("reference"),
        "alt",
        pl.col("score").alias("function.score.mean"),
        pl.col("class").alias("func.class"),
        pl.col("term").alias("consequence"),
    )


def brca2_like(drawn: Sequence[Drawn], config: DemoConfig) -> pl.DataFrame:
    """HuggingFaceBio's columns, with windows of 8,192 bp: all SNVs of up to `BRCA2_BASES` bases of another gene."""
    screen = _screen(drawn, config, "brca2", 1, BRCA2_BASES)
    letters = {contig.name: LETTERS[contig.codes].tobytes().decode() for contig, _ in drawn}
    windows: list[tuple[str, str]] = []
    for contig, pos, alt in screen.select("contig", "pos", "alt").iter_rows():
        at = pos - 1
        start = max(at - WINDOW_BP // 2, 0)
        text = letters[contig][start : at + WINDOW_BP // 2]
        windows.append((text, text[: at - start] + alt + text[at - start + 1 :]))
    sequences = pl.DataFrame(windows, schema={"ref_seq": pl.String, "var_seq": pl.String}, orient="row")
    collapsed = pl.col("class").replace({"FUNC": "FUNC/INT", "INT": "FUNC/INT"})
    table = screen.select(pl.col("contig").alias("chrom"), "pos", "ref", "alt", "score", collapsed)
    return table.hstack(sequences)


def traitgym_like(drawn: Sequence[Drawn], config: DemoConfig) -> pl.DataFrame:
    """TraitGym's columns: regulatory SNVs that do harm, each with nine of the same kind and contig that do none."""
    rows: list[tuple[str, int, str, str, bool, str, str]] = []
    for contig, effects in drawn:
        rng = generator(config.seed, contig.name, "traitgym")
        chrom, n_groups = contig.name.removeprefix("chr"), 0
        for term in _REGULATORY:
            changes = np.argwhere(effects.snv_term == term)
            changes = changes[contig.codes[changes[:, 0]] < 4]
            changes = changes[contig.codes[changes[:, 0]] != changes[:, 1]]
            harm = effects.snv_harm[changes[:, 0], changes[:, 1]]
            causal = rng.permutation(changes[harm >= _CAUSAL_HARM])[: CAUSAL_A_CONTIG // len(_REGULATORY)]
            controls = rng.permutation(changes[harm < _CONTROL_HARM])[: CONTROLS * len(causal)]
            for number in range(len(controls) // CONTROLS):
                group = f"{chrom}_{n_groups}"
                members = [causal[number], *controls[number * CONTROLS : (number + 1) * CONTROLS]]
                rows += [
                    (chrom, int(at) + 1, *_letters(contig, at, alt), place == 0, group, term.name.lower())
                    for place, (at, alt) in enumerate(members)
                ]
                n_groups += 1
    schema = {"chrom": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String, "label": pl.Boolean}
    return pl.DataFrame(rows, schema=schema | {"match_group": pl.String, "consequence": pl.String}, orient="row")


def _screen(drawn: Sequence[Drawn], config: DemoConfig, name: str, rank: int, n_bases: int) -> pl.DataFrame:
    """gene, contig, pos (1-based), ref, alt, score, class and term of a screen of the `rank`-th largest gene."""
    contig, effects = next((pair for pair in drawn if pair[0].name == SCREENED_CONTIG), drawn[-1])
    sized = sorted(
        ((positions_of(gene.transcripts[0].cds()).size, gene) for gene in contig.genes), key=lambda pair: -pair[0]
    )
    genes = [gene for size, gene in sized if size]
    schema = {"gene": pl.String, "contig": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String}
    schema |= {"score": pl.Float64, "class": pl.String, "term": pl.String}
    if len(genes) <= rank:
        return pl.DataFrame(schema=schema)
    gene, rng = genes[rank], generator(config.seed, contig.name, name)
    at = np.repeat(_screened(contig, gene, n_bases), 3)
    ref = contig.codes[at].astype(np.int64)
    alt = (ref + np.tile([1, 2, 3], at.size // 3)) % 4
    harm = effects.snv_harm[at, alt]
    score = _LOSS_PER_HARM * harm + rng.normal(0, _NOISE, at.size)
    of_class = np.where(score < _LOF, "LOF", np.where(score < _INTERMEDIATE, "INT", "FUNC"))
    terms = np.array([term.name.lower() for term in Term])[effects.snv_term[at, alt]]
    measured = pl.Series(np.where(rng.random(at.size) < _UNSCORED, np.nan, score)).round(4)
    columns = [gene.name, contig.name, at + 1, *(_text(codes) for codes in (ref, alt)), measured, of_class, terms]
    named = [
        pl.lit(value).alias(key) if isinstance(value, str) else pl.Series(key, value)
        for key, value in zip(schema, columns, strict=True)
    ]
    return pl.select(*named).cast(schema)  # type: ignore[arg-type]


def _screened(contig: ContigGenome, gene: Gene, n_bases: int) -> NDArray[np.int64]:
    """Known bases of the coding exons and of the intron beside them; of a long gene the middle."""
    spans = gene.transcripts[0].cds() + np.array([-_INTRON_BP, _INTRON_BP])
    positions = np.unique(positions_of(spans))
    known = positions[contig.codes[positions] < 4]
    first = max((known.size - n_bases) // 2, 0)
    return known[first : first + n_bases]


def _letters(contig: ContigGenome, at: int, alt: int) -> tuple[str, str]:
    return chr(LETTERS[contig.codes[at]]), chr(LETTERS[alt])


def _text(codes: NDArray[np.int64]) -> list[str]:
    return list(LETTERS[codes].tobytes().decode())
