"""Raw scores against the plain way: one full encoding of the edited window for each allele."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from data_contracts import CalibrationScores
from data_contracts.checking import validate
from geno_model.encoder.shared_prefix import encode_window
from geno_model.genomics.alleles import to_alleles
from geno_model.genomics.context import Context
from geno_model.genomics.edits import EditSpec, apply_edits_array, fit_window
from geno_model.genomics.genome import Genome, most_central
from geno_model.genomics.vcf_reader import read_vcf_chunks
from geno_model.predictor.world_model import WorldModel, model_batch, model_config
from geno_model.scoring.errors import ScoringError
from geno_model.scoring.surprise import RAW_SCHEMA, Heads, score_raw, window_threads
from tests.tiny_release import every_kind, random_model, vcf_text, write_fasta
from tests.unit.encoders import WINDOW_BP, tiny_encoder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("surprise")


@pytest.fixture(scope="module")
def genome(place: Path) -> Genome:
    return Genome.open(write_fasta(place / "ref.fa"), cache_dir=place / "cache")


@pytest.fixture(scope="module")
def encoder(place: Path):
    return tiny_encoder(place / "encoder")


@pytest.fixture(scope="module")
def alleles(place: Path, genome: Genome) -> pl.DataFrame:
    (place / "in.vcf").write_text(vcf_text(every_kind(genome)))
    chunk = next(read_vcf_chunks(place / "in.vcf"))
    return to_alleles(chunk.lines, genome).filter(pl.col("reason").is_null())


@pytest.fixture(scope="module")
def raw(alleles: pl.DataFrame, genome: Genome, encoder) -> pl.DataFrame:
    model = random_model(encoder.sixmer_embeddings())
    return score_raw(alleles, genome, encoder, model, Context.build(None, None, genome))


def test_rows_order_and_columns(raw: pl.DataFrame, alleles: pl.DataFrame) -> None:
    assert raw.schema == RAW_SCHEMA
    keys = ["contig", "pos", "ref", "alt", "edit_type"]
    assert raw.select(keys).equals(alleles.select(keys))
    assert raw.filter(pl.col("reason").is_null()).height == 10
    columns = CalibrationScores.empty().schema
    of_populations = [pl.lit(None, dtype=pl.Float32).alias(name) for name in columns if name.startswith("af_")]
    scored = raw.filter(pl.col("reason").is_null()).with_columns(*of_populations)
    validate(CalibrationScores, scored.select(columns.names()))


def test_windows_are_the_most_central_ones_and_the_rest_is_out_of_range(raw: pl.DataFrame, genome: Genome) -> None:
    for row in raw.iter_rows(named=True):
        if row["contig"] == "chr1":
            expected = most_central(np.array([row["pos"] - 1]), genome.contigs["chr1"], WINDOW_BP, 2_048)[0]
            assert (row["window_start_bp"], row["reason"]) == (expected, None)
        else:  # too short for a window, or too much N
            assert (row["window_start_bp"], row["reason"]) == (None, "out_of_range")
            assert row["surprise_raw"] is None and row["region_class"] is None


def test_scores_equal_the_plain_way(raw: pl.DataFrame, genome: Genome, encoder) -> None:
    """surprise = norm of predicted - encoded edited window; displacement = 1 - cos(predicted, reference)."""
    model = random_model(encoder.sixmer_embeddings())
    for row in raw.filter(pl.col("reason").is_null()).iter_rows(named=True):
        start = row["window_start_bp"]
        edit = EditSpec(row["contig"], row["pos"], row["ref"], row["alt"]).relative_to(start, start + WINDOW_BP)
        window = genome.window(row["contig"], start, start + WINDOW_BP)
        locus = edit.rel_pos // 6 * 6
        edited = fit_window(
            apply_edits_array(window, [edit]), WINDOW_BP, edit.rel_pos, "right", encoder.contract.right_tokens
        )
        before, after = encoder.encode_batch(np.stack([window, edited]), [locus, locus]).double()
        pool = np.array([edit.rel_pos // 6])
        batch = model_batch(encode_window(encoder, window, [[edit]], pool), [[edit]], pool)
        predicted = model.predict(batch)[0, 0].double()
        assert row["surprise_raw"] == pytest.approx(float((predicted - after).norm()), abs=2e-6)
        cosine = float(predicted @ before / (predicted.norm() * before.norm()))
        assert row["displacement"] == pytest.approx(1 - cosine, abs=2e-6)


def test_batches_and_order_do_not_change_scores(raw: pl.DataFrame, alleles: pl.DataFrame, genome, encoder) -> None:
    model = random_model(encoder.sixmer_embeddings())
    seen: list[int] = []
    context = Context.build(None, None, genome)
    again = score_raw(alleles.reverse(), genome, encoder, model, context, batch_edits=1, progress=seen.append)
    for name in ("surprise_raw", "displacement"):
        np.testing.assert_allclose(again.reverse()[name], raw[name], atol=1e-6)
    assert seen == sorted(seen) and seen[-1] == 10


def test_no_bit_of_a_score_depends_on_company_order_or_threads(genome, encoder) -> None:
    """Every SNV of 40 places, alone and with all others of its place, its window and the contig."""
    bases = genome.bases("chr1")
    places = np.random.default_rng(3).choice(np.arange(600, 5_000), 40, replace=False)
    rows = [("chr1", int(at) + 1, chr(bases[at]), alt, 0) for at in places for alt in "ACGT" if alt != chr(bases[at])]
    rows += [("chr1", int(at) + 1, chr(bases[at]), chr(bases[at]) + "GA", 1) for at in places[:10]]
    schema = {"contig": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String, "edit_type": pl.UInt8}
    alleles = pl.DataFrame(rows, schema=schema, orient="row")
    model, context = random_model(encoder.sixmer_embeddings()), Context.build(None, None, genome)
    heads = Heads(delta_loglik=True)

    def score(part: pl.DataFrame, n_threads: int = 1) -> pl.DataFrame:
        with window_threads(n_threads) as pool:
            return score_raw(part, genome, encoder, model, context, heads=heads, pool=pool)

    whole = score(alleles)
    assert whole["reason"].null_count() == whole.height
    mixed = alleles.sample(fraction=1, shuffle=True, seed=1)
    again = score(mixed, 3).join(alleles.with_row_index("_row"), on=alleles.columns).sort("_row").drop("_row")
    assert again.select(whole.columns).equals(whole)
    for start, n in ((0, 1), (1, 2), (0, 3), (7, 50), (121, 1), (125, 5)):
        assert score(alleles.slice(start, n)).equals(whole.slice(start, n))


def test_where_a_circle_is_cut_open_changes_no_score(encoder, tmp_path: Path) -> None:
    """The same mitochondria, begun 5,000 bp later: scores, context and windows over the origin are those of the DNA."""
    bases = "".join(np.random.default_rng(4).choice(list("ACGT"), 16_569))
    (tmp_path / "m.fa").write_text(f">chrM\n{bases}\n")
    (tmp_path / "turned.fa").write_text(f">MT\n{bases[5_000:] + bases[:5_000]}\n")
    positions = [1, 73, 1_000, 5_000, 5_001, 9_000, 16_000, 16_566]
    found = []
    for name, contig, shift in (("m.fa", "chrM", 0), ("turned.fa", "MT", 5_000)):
        genome = Genome.open(tmp_path / name, cache_dir=tmp_path / "cache")
        pos = [(at - 1 - shift) % 16_569 + 1 for at in positions]
        ref = [bases[at - 1] for at in positions]
        alt = ["ACGT"[("ACGT".index(base) + 1) % 4] for base in ref]
        columns = {"contig": [contig] * len(pos), "pos": pos, "ref": ref, "alt": alt, "edit_type": [0] * len(pos)}
        alleles = pl.DataFrame(columns, schema_overrides={"edit_type": pl.UInt8})
        context, model = Context.build(None, None, genome), random_model(encoder.sixmer_embeddings())
        found.append(score_raw(alleles, genome, encoder, model, context, policy="centred"))
    first, turned = found
    assert first["reason"].null_count() == first.height and first["pos"].to_list() == positions
    assert first["window_start_bp"].min() < 0 < 16_569 - WINDOW_BP < first["window_start_bp"].max()  # type: ignore[operator]
    names = ["surprise_raw", "displacement", "gc", "region_class", "repeat_class"]
    assert first.select(names).equals(turned.select(names))


def test_no_alleles_give_no_rows(genome: Genome, encoder, alleles: pl.DataFrame) -> None:
    model = random_model(encoder.sixmer_embeddings())
    empty = score_raw(alleles.head(0), genome, encoder, model, Context.build(None, None, genome))
    assert empty.schema == RAW_SCHEMA and empty.is_empty()


def test_a_model_that_gives_nan_is_an_error(genome: Genome, encoder, alleles: pl.DataFrame) -> None:
    model = random_model(encoder.sixmer_embeddings())
    torch.nn.init.constant_(model.predictor.out[-1].get_parameter("bias"), float("nan"))
    with pytest.raises(ScoringError, match="not finite for 10 of 10"):
        score_raw(alleles, genome, encoder, model, Context.build(None, None, genome))


def test_a_model_that_says_no_change_is_surprised_by_the_change_itself(genome: Genome, encoder, alleles) -> None:
    """Pitfall 18: surprise follows the true change of state, not the norm of a state, which is always 1."""
    torch.manual_seed(1)
    sixmers = encoder.sixmer_embeddings()
    untrained = WorldModel(model_config("demo", sixmers.shape[1], "locus"), sixmers).eval()
    rows = score_raw(alleles, genome, encoder, untrained, Context.build(None, None, genome)).drop_nulls("surprise_raw")
    assert rows["displacement"].max() < 1e-12  # type: ignore[operator]
    row = rows.row(0, named=True)
    window = genome.window("chr1", row["window_start_bp"], row["window_start_bp"] + WINDOW_BP)
    locus = row["pos"] - 1 - row["window_start_bp"]
    edited = window.copy()
    edited[locus] = ord(row["alt"])
    before, after = encoder.encode_batch(np.stack([window, edited]), [locus, locus])
    assert row["surprise_raw"] == pytest.approx(float((after - before).norm()), abs=1e-6)
    assert row["surprise_raw"] > 1e-4


def test_an_evaluation_gets_no_change_and_another_models_heads_from_the_same_pass(genome, encoder, alleles) -> None:
    sixmers, context = encoder.sixmer_embeddings(), Context.build(None, None, genome)
    model, other = random_model(sixmers), random_model(sixmers)
    torch.nn.init.normal_(other.predictor.out[-1].get_parameter("weight"), std=0.3)
    torch.manual_seed(1)
    still = WorldModel(model_config("demo", sixmers.shape[1], "locus"), sixmers).eval()  # predicts no change
    both = score_raw(alleles, genome, encoder, model, context, untrained=other)
    assert both.select(RAW_SCHEMA.names()).equals(score_raw(alleles, genome, encoder, model, context))
    alone = score_raw(alleles, genome, encoder, other, context)
    assert both["random_surprise"].equals(alone["surprise_raw"]) and both["random_surprise"].drop_nulls().len() == 10
    assert both["random_displacement"].equals(alone["displacement"])
    assert not both["random_surprise"].equals(both["surprise_raw"])
    of_still = score_raw(alleles, genome, encoder, still, context)["surprise_raw"]
    np.testing.assert_allclose(both["no_change"].drop_nulls(), of_still.drop_nulls(), atol=1e-6)
