"""The reference genome, what is known of its parts, and a corpus beside it (group `reference`, spec 3, 9)."""

from __future__ import annotations

import dagster as dg
import polars as pl

from geno_model.files import replacing_folder
from geno_model.genomics.annotation_io import read_genes
from geno_model.genomics.errors import InputError
from geno_model.genomics.repeats_io import read_repeats
from geno_pipeline.assets import PROFILE, folder_asset, inputs, open_reference, table_asset
from geno_pipeline.build.corpus import write_corpus
from geno_pipeline.config import CORPUS, digest
from geno_pipeline.demo.config import DemoConfig
from geno_pipeline.demo.write import write_demo_inputs
from geno_pipeline.storage import Storage, empty_table, markdown_table

if PROFILE.demo is not None:

    @folder_asset("reference", version="2", settings=[PROFILE.demo, PROFILE.seed])
    def demo_inputs(storage: Storage) -> dg.MaterializeResult:
        """SYNTHETIC inputs: a made-up genome with genes and repeats, and the variation of a simulated population.

        Ordinary FASTA, GTF, RepeatMasker and VCF files, named like human ones. Nothing in them comes from a person.
        """
        assert PROFILE.demo is not None
        config = DemoConfig(seed=PROFILE.seed, contigs=PROFILE.demo.contigs, n_samples=PROFILE.demo.n_samples)
        with replacing_folder(storage.path / "demo_inputs") as folder:
            summary = write_demo_inputs(folder, config).summary
        return storage.folder_result("demo_inputs", {"synthetic": True, **summary})


@folder_asset("reference", settings=[PROFILE.inputs.reference], deps=inputs("reference"))
def reference_genome() -> dg.MaterializeResult:
    """The reference sequence that all coordinates refer to, kept as one array of bases that every step looks into."""
    genome = open_reference()
    for contig in PROFILE.contigs:
        if contig not in genome.contigs and contig != CORPUS:
            hint = genome.resolve(contig)
            say = f"the FASTA calls it {hint}" if hint else f"it has {', '.join(list(genome.contigs)[:30])}"
            raise InputError(f"contig {contig} of the profile is not in {genome.fasta}: {say}. Correct `contigs`.")
    lengths = pl.DataFrame(list(genome.contigs.items()), schema=["contig", "length_bp"], orient="row")
    digests = [genome.sha256(contig, 0, length) for contig, length in genome.contigs.items()]
    lengths = lengths.with_columns(sha256=pl.Series(digests))
    return dg.MaterializeResult(
        metadata={
            "fasta": dg.MetadataValue.path(str(genome.fasta)),
            "contigs": dg.MetadataValue.md(markdown_table(lengths)),
            "length_bp": int(lengths["length_bp"].sum()),
        },
        data_version=dg.DataVersion(digest(lengths.rows())),
    )


if PROFILE.inputs.corpus is not None:

    @folder_asset(
        "reference", settings=[PROFILE.inputs.corpus, PROFILE.windows], deps=[*inputs("corpus"), "reference_genome"]
    )
    def corpus(storage: Storage, holdout_chr: pl.DataFrame) -> dg.MaterializeResult:
        """Sequences without coordinates, as one more contig to train on; none shares DNA with a held-out chromosome."""
        assert PROFILE.inputs.corpus is not None
        genome, spans = open_reference(), holdout_chr.select("contig", "start_bp", "end_bp").iter_rows()
        held_out = (genome.window(*span) for span in spans)
        path, grid = PROFILE.input_path(PROFILE.inputs.corpus), PROFILE.windows
        with replacing_folder(storage.path / "corpus") as folder:
            counts = write_corpus(path, folder / "corpus.fa", grid.window_bp, grid.max_n_fraction, held_out)
        return storage.folder_result("corpus", counts)


@table_asset("reference", settings=[PROFILE.inputs.genes], deps=[*inputs("genes"), "reference_genome"])
def gene_annotation(context: dg.AssetExecutionContext) -> pl.DataFrame:
    """Genes: exons, coding parts and transcripts with their strand. They say whether a variant hits a protein."""
    path = PROFILE.inputs.genes
    if path is None:
        context.add_asset_metadata({"given": "no: the region class of every variant is 'other'"})
        return empty_table("gene_annotation")
    return read_genes(PROFILE.input_path(path), open_reference())


@table_asset("reference", settings=[PROFILE.inputs.repeats], deps=[*inputs("repeats"), "reference_genome"])
def repeat_annotation(context: dg.AssetExecutionContext) -> pl.DataFrame:
    """Repeats: simple repeats, low complexity, transposons and segmental duplications."""
    paths, genome = PROFILE.inputs.repeats, open_reference()
    if not paths:
        context.add_asset_metadata({"given": "no: the repeat class of every variant is 'none'"})
        return empty_table("repeat_annotation")
    return pl.concat(read_repeats(PROFILE.input_path(path), genome) for path in paths)
