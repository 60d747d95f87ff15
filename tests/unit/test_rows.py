"""Training and validation rows: the plan made true to the row, holdouts untouched, the same whatever else is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_contracts import GeneAnnotation, TrainingEdits, ValidationEdits, validate
from geno_model.genomics.genome import Genome
from geno_pipeline.build import holdouts as h
from geno_pipeline.build.clinvar import ingest_clinvar
from geno_pipeline.build.draws import further_edits
from geno_pipeline.build.edit_mix import calibration_reserved, plan
from geno_pipeline.build.gnomad import ingest_gnomad
from geno_pipeline.build.leakage import Holdouts, leakage
from geno_pipeline.build.phased import ingest_phased
from geno_pipeline.build.regions import holdout_regions
from geno_pipeline.build.rows import training_rows
from geno_pipeline.build.validation import validation_rows
from geno_pipeline.build.windows import assign_windows, reference_windows
from tests.shared_data import SHARED, needs_shared_data
from tests.unit.build_inputs import SHARES, STRIDE_BP, WINDOW_BP, clinvar, gnomad, haplotype, make_genome, snvs

SETTINGS = {"seed": 3, "calibration_fraction": 0.3}
LENGTHS = {"1": WINDOW_BP + 9 * STRIDE_BP, "2": WINDOW_BP + 5 * STRIDE_BP, "21": WINDOW_BP + 3 * STRIDE_BP}


@dataclass(frozen=True)
class World:
    """All inputs of the rows."""

    genome: Genome
    windows: pl.DataFrame
    gnomad: pl.DataFrame
    clinvar: pl.DataFrame
    phased: pl.DataFrame
    held: Holdouts
    regions: pl.DataFrame
    mix: pl.DataFrame

    def training(self, contig: str, **changes: object) -> pl.DataFrame:
        settings = SETTINGS | changes
        frames = (self.mix, self.windows, self.gnomad, self.clinvar, self.phased)
        return training_rows(*frames, self.genome, contig, self.regions, **settings)  # pyright: ignore[reportArgumentType]

    def validation(self, contig: str) -> pl.DataFrame:
        frames = (self.windows, self.gnomad, self.held.clinvar, self.held.haplotypes)
        settings = {"seed": 3, "shares": SHARES, "singles_per_window": 10, "chains_per_k": 6, "haplotypes_per_k": 4}
        return validation_rows(*frames, self.genome, contig, self.regions, **settings)  # pyright: ignore[reportArgumentType]


def _world(
    genome: Genome,
    common: pl.DataFrame,
    judged: pl.DataFrame,
    phased: pl.DataFrame,
    held: pl.DataFrame,
    contigs: Iterable[str],
) -> World:
    windows = pl.concat([reference_windows(genome, c, WINDOW_BP, STRIDE_BP, 0.05, held)[0] for c in contigs])
    held_clinvar = h.holdout_clinvar(judged, 0.5, 3, held)
    held_haplotypes = h.holdout_haplotypes(phased, 0.3, 3, held)
    genes = GeneAnnotation.empty()
    regions = holdout_regions(held, held_clinvar, held_haplotypes, genes, genome)
    mix = plan(windows, common, judged, regions, edits_per_window=8, shares=SHARES, **SETTINGS)
    holdouts = Holdouts(held, held_clinvar, held_haplotypes, genes, genome)
    return World(genome, windows, common, judged, phased, holdouts, regions, mix)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    genome = make_genome(Path(tmp_path_factory.mktemp("genome")), LENGTHS, n_spans={"1": (20_000, 20_300)})
    held = h.holdout_chr(["21"], [("2", 45_000, 60_000)], genome.contigs)
    common, judged, blocks = [], [], []
    for contig, length in LENGTHS.items():
        known = [pos for pos in range(500, length - 500, 150) if genome.bases(contig)[pos - 1] != ord("N")]
        common.append(gnomad(snvs(genome, contig, known)))
        judged += [
            clinvar(snvs(genome, contig, [pos + 20]), "P" if i % 2 else "LB", f"gene{pos // 3_000}")
            for i, pos in enumerate(known[::12])
        ]
        for k in (2, 3, 5, 8):
            starts = range(1_200 + 40 * k, length - 2_000, 5_000)
            blocks += [
                haplotype(snvs(genome, contig, [start + 11 * i for i in range(k)]))
                for start in starts
                if not (genome.bases(contig)[start - 1 : start + 90] == ord("N")).any()
            ]
    return _world(genome, pl.concat(common), pl.concat(judged), pl.concat(blocks), held, LENGTHS)


def _edits(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("row_id", "contig", "window_start_bp", "source", "k", "edits").explode("edits").unnest("edits")


def test_training_rows_realise_the_plan_and_touch_no_holdout(world: World) -> None:
    rows = validate(TrainingEdits, pl.concat([world.training(contig) for contig in LENGTHS]))
    made = rows.group_by("contig", "window_start_bp", "source").agg(n_rows=pl.len().cast(pl.Int64))
    assert made.sort(made.columns).equals(world.mix.select(made.columns).sort(made.columns))
    assert set(rows["contig"]) == {"1", "2"}
    assert leakage(rows, world.held)["n_rows"].sum() == 0
    edits = _edits(rows)
    bases = [
        world.genome.window(c, p - 1, p - 1 + len(r)).tobytes().decode()
        for c, p, r in edits.select("contig", "pos", "ref").rows()
    ]
    assert bases == edits["ref"].to_list()
    first = edits.group_by("row_id", maintain_order=True).first()
    assert (
        assign_windows(first.drop("window_start_bp"), world.windows)["window_start_bp"].to_list()
        == first["window_start_bp"].to_list()
    )


def test_a_tenth_has_several_edits_within_1000_bp_real_ones_first(world: World) -> None:
    tenth = pl.concat([world.training(contig) for contig in ("1", "2")])
    assert (tenth["k"] > 1).sum() == int(0.1 * tenth.height + 0.5)
    for contig in ("1", "2"):
        rows = world.training(contig, multi_edit_fraction=0.5)
        several = rows.filter(pl.col("k") > 1)
        assert several.height in (rows.height // 2, rows.height // 2 + 1)  # exact over both
        assert set(several["k"]) == {2, 3}
        positions = several["edits"].list.eval(pl.element().struct.field("pos"))
        assert (positions.list.max() - positions.list.min()).max() < 1_000  # type: ignore[operator]
        real = several.join(world.phased.select("edits"), on="edits", how="semi")
        assert 0 < real.height < several.height and set(real["source"]) == {"gnomad"}
        known = _edits(real).join(world.gnomad, on=["contig", "pos", "ref", "alt"], how="semi")
        assert not calibration_reserved(known, 0.3, 3).any()
    assert world.training("1", multi_edit_fraction=0.0)["k"].max() == 1


def test_pooling_centre(world: World) -> None:
    rows = world.training("1").with_columns(
        token=(pl.col("edits").list.first().struct.field("pos") - 1 - pl.col("window_start_bp")) // 6
    )
    moved = rows.filter(pl.col("pool_token") != pl.col("token"))
    assert set(moved["k"]) == {1} and moved.height == int(0.2 * rows.filter(pl.col("k") == 1).height + 0.5)
    shift = (moved["pool_token"] - moved["token"]).to_numpy()
    assert np.abs(shift).max() <= 192 and shift.min() < 0 < shift.max()
    narrow = world.training("1", radius_tokens=64)  # three quarters of the pool's radius
    assert 40 < (narrow["pool_token"] - rows["token"]).abs().max() <= 48  # type: ignore[operator]
    still = world.training("1", off_centre_fraction=0.0)
    assert still["pool_token"].to_list() == rows["token"].to_list()


def test_rows_depend_on_seed_contig_and_window_alone(world: World) -> None:
    rows = world.training("2")
    others_reversed = World(
        world.genome, world.windows.reverse(), world.gnomad.reverse(), world.clinvar.reverse(), world.phased.reverse(),
        world.held, world.regions.reverse(), world.mix.reverse(),
    )  # fmt: skip
    assert others_reversed.training("2").equals(rows)
    only_here = pl.col("contig") == "2"
    assert training_rows(
        world.mix, world.windows.filter(only_here), world.gnomad.filter(only_here),
        world.clinvar.filter(only_here), world.phased.filter(only_here), world.genome, "2", world.regions, **SETTINGS
    ).equals(rows)  # fmt: skip
    assert not world.training("2", seed=4).equals(rows)


def test_indel_source_holds_all_kinds(world: World) -> None:
    rows = pl.concat([world.training(c) for c in ("1", "2")])
    types = rows.filter(pl.col("source") == "synthetic_indel")["edit_type"]
    assert set(types) == {1, 2, 3, 4}
    planned = world.mix.select("n_mnv", "n_complex").sum().row(0)
    assert ((types == 3).sum(), (types == 4).sum()) == planned
    assert set(rows.filter(pl.col("source") == "synthetic_snv")["edit_type"]) == {0}


def test_validation_rows(world: World) -> None:
    rows = validate(ValidationEdits, world.validation("21"))
    held = rows.filter(pl.col("holdout") == "holdout-chr")
    singles = held.filter(pl.col("k") == 1)
    assert dict(singles.group_by("source").len().rows()) == {
        "gnomad": 16, "synthetic_snv": 12, "synthetic_indel": 8, "clinvar": 4
    }  # fmt: skip
    assert dict(held.filter(pl.col("k") > 1).group_by("k").len().rows()) == {2: 6, 3: 6, 5: 6, 8: 6}
    chains = held.filter(pl.col("k") > 1)["edits"].list.eval(pl.element().struct.field("pos"))
    assert (chains.list.max() - chains.list.min()).max() < 1_000  # type: ignore[operator]
    real = rows.filter(pl.col("holdout") == "holdout-haplotypes")
    assert dict(real.group_by("k").len().rows()) == {2: 4, 3: 4, 5: 4, 8: 4}
    assert real.join(world.held.haplotypes.select("edits"), on="edits", how="semi").height == real.height
    pathogenic = rows.filter(pl.col("holdout") == "holdout-clinvar")
    labels = _edits(pathogenic).join(world.held.clinvar, on=["contig", "pos", "ref", "alt"])["label"]
    assert pathogenic.height > 0 and labels.to_list() == [1] * pathogenic.height
    token = (rows["edits"].list.first().struct.field("pos") - 1 - rows["window_start_bp"]) // 6
    assert rows["pool_token"].to_list() == token.to_list()
    assert world.validation("21").equals(rows)


def test_validation_edits_stay_inside_a_span_that_ends_within_a_window(world: World) -> None:
    rows = world.validation("2").filter(pl.col("holdout") == "holdout-chr")
    edits = _edits(rows)
    assert rows.height > 20
    assert edits["pos"].min() > 45_000  # type: ignore[operator]
    assert (edits["pos"] - 1 + edits["ref"].str.len_bytes()).max() <= LENGTHS["2"]  # type: ignore[operator]
    assert set(world.validation("1")["holdout"]) == {"holdout-clinvar", "holdout-haplotypes"}


def test_further_edits_never_overlap_and_end_where_the_window_is_unknown() -> None:
    rng = np.random.default_rng(1)
    window = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(0, 4, 3_000)].copy()
    window[1_500:] = ord("N")
    drawn = further_edits(window, np.array([100, 1_420, 1_480]), np.array([16, 1, 1]), np.array([7, 7, 7]), rng)
    assert drawn.group_by("row").len().sort("row").rows()[0] == (0, 7)
    assert drawn.filter(pl.col("row") == 1).height == 3  # 1,421 to 1,499 holds three slots of 20 bp
    assert drawn.filter(pl.col("row") == 2).is_empty()
    ends = drawn["rel_pos"] + drawn["ref"].str.len_bytes()
    gaps = drawn["rel_pos"] - ends.shift(1)
    assert (gaps.filter(drawn["row"] == drawn["row"].shift(1)) >= 0).all()
    assert drawn["rel_pos"][0] >= 116 and ends.max() <= 1_500  # type: ignore[operator]
    many = further_edits(window, np.full(400, 100), np.ones(400, dtype=np.int64), 3, rng)
    assert many.height == 1_200
    letters = [window[p : p + len(r)].tobytes().decode() for p, r in many.select("rel_pos", "ref").rows()]
    assert letters == many["ref"].to_list() and (many["ref"] != many["alt"]).all()
    is_snv = (many["ref"].str.len_bytes() == 1) & (many["alt"].str.len_bytes() == 1)
    assert 0.75 < is_snv.mean() < 0.85  # type: ignore[operator]
    indels = many.filter(~is_snv)
    assert (indels["ref"].str.slice(0, 1) == indels["alt"].str.slice(0, 1)).all()
    assert indels["ref"].str.len_bytes().max() <= 16 and indels["alt"].str.len_bytes().max() <= 16  # type: ignore[operator]


@needs_shared_data
def test_real_files_end_to_end(tmp_path: Path) -> None:
    real = SHARED / "grch37"
    genome = Genome.open(real / "reference.fa.gz", cache_dir=tmp_path)
    common, _ = ingest_gnomad([real / "kg_sites.vcf.gz"], genome, ["1"], an_where_af_missing=1_258)
    judged, _ = ingest_clinvar(real / "clinvar.vcf.gz", genome, ["1"])
    phased, _ = ingest_phased(real / "kg_phased.vcf.gz", genome, ["1"])
    held = h.holdout_chr(["13"], [("1", 1_300_000, 249_250_621)], genome.contigs)
    world = _world(genome, common, judged, phased, held, ["1"])
    rows = validate(TrainingEdits, world.training("1"))
    assert rows.height == world.mix["n_rows"].sum()
    assert leakage(rows, world.held)["n_rows"].sum() == 0
    assert (rows["k"] > 1).sum() == int(0.1 * rows.height + 0.5)
    assert rows.join(phased.select("edits"), on="edits", how="semi").height > 10
