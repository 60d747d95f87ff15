"""Genes and repeats from published formats: levelled dialects, named faults, real files."""

from __future__ import annotations

import gzip
import textwrap
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from geno_model.genomics.annotation_io import read_genes
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_model.genomics.repeats_io import read_repeats
from tests.shared_data import SHARED, needs_shared_data


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    """chr1 and chrM, 1,000 and 100 bp."""
    fasta = tmp_path / "reference.fa"
    fasta.write_text(">chr1\n" + "ACGT" * 250 + "\n>chrM\n" + "ACGT" * 25 + "\n")
    return Genome.open(fasta, tmp_path / "cache")


def write(path: Path, text: str) -> Path:
    """Text with `|` for tabs, indentation removed."""
    data = textwrap.dedent(text).replace("|", "\t").lstrip("\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def phases(genes: pl.DataFrame) -> list[int]:
    """Of the coding segments, in the order of the genome."""
    return genes.filter(pl.col("feature") == "CDS").sort("start_bp")["phase"].to_list()


def rows(genes: pl.DataFrame, feature: str) -> list[tuple[str, int, int, str]]:
    part = genes.filter(pl.col("feature") == feature).select("transcript_id", "start_bp", "end_bp", "strand")
    return part.sort("transcript_id", "start_bp").rows()


GTF = """
    #!genome-build made up
    1|test|gene|101|400|.|+|.|gene_id "G1"; gene_name "ABC";
    1|test|transcript|101|400|.|+|.|gene_id "G1"; transcript_id "T1"; gene_name "ABC"; transcript_type "protein_coding";
    1|test|exon|101|200|.|+|.|gene_id "G1"; transcript_id "T1"; gene_name "ABC"; transcript_type "protein_coding";
    1|test|CDS|151|200|.|+|0|gene_id "G1"; transcript_id "T1"; gene_name "ABC"; transcript_type "protein_coding";
    1|test|exon|301|400|.|+|.|gene_id "G1"; transcript_id "T1"; gene_name "ABC"; transcript_type "protein_coding";
    1|test|CDS|301|337|.|+|1|gene_id "G1"; transcript_id "T1"; gene_name "ABC"; transcript_type "protein_coding";
    1|test|stop_codon|338|340|.|+|0|gene_id "G1"; transcript_id "T1"; gene_name "ABC"; transcript_type "protein_coding";
    1|test|exon|501|600|.|-|.|gene_id "G2"; transcript_id "T2"; gene_biotype "protein_coding";
    1|test|stop_codon|521|523|.|-|0|gene_id "G2"; transcript_id "T2"; gene_biotype "protein_coding";
    1|test|CDS|524|590|.|-|1|gene_id "G2"; transcript_id "T2"; gene_biotype "protein_coding";
"""
GFF3 = """
    ##gff-version 3
    1|test|gene|101|400|.|+|.|ID=gene:G1;Name=ABC;gene_id=G1
    1|test|mRNA|101|400|.|+|.|ID=transcript:T1;Parent=gene:G1;Name=ABC-001;biotype=protein_coding
    1|test|exon|101|200|.|+|.|Parent=transcript:T1;Name=E1
    1|test|CDS|151|200|.|+|0|ID=CDS:P1;Parent=transcript:T1
    1|test|exon|301|400|.|+|.|Parent=transcript:T1;Name=E2
    1|test|CDS|301|340|.|+|1|ID=CDS:P1;Parent=transcript:T1
    1|test|CDS|521|590|.|-|1|ID=CDS:P2;Parent=transcript:T2
    1|test|exon|501|600|.|-|.|Parent=transcript:T2
    1|test|mRNA|501|600|.|-|.|ID=transcript:T2;Parent=gene:G2;biotype=protein_coding
    ##FASTA
    >1
    ACGT
"""


def test_gtf_and_gff3_give_the_same_table(genome: Genome, tmp_path: Path) -> None:
    gtf = read_genes(write(tmp_path / "a.gtf", GTF), genome)
    assert gtf.equals(read_genes(write(tmp_path / "a.gff3.gz", GFF3), genome))
    assert rows(gtf, "exon") == [("T1", 100, 200, "+"), ("T1", 300, 400, "+"), ("T2", 500, 600, "-")]
    # T1: the stop codon is part of the coding sequence. T2 begins (at its right end) one base before a codon.
    assert rows(gtf, "CDS") == [("T1", 150, 200, "+"), ("T1", 300, 340, "+"), ("T2", 520, 590, "-")]
    assert phases(gtf) == [0, 1, 1]
    assert rows(gtf, "transcript") == [("T1", 100, 400, "+"), ("T2", 500, 600, "-")]
    labels = gtf.select("contig", "transcript_id", "gene", "biotype").unique().sort("gene").rows()
    assert labels == [("chr1", "T1", "ABC", "protein_coding"), ("chr1", "T2", "G2", "protein_coding")]


# RefSeq's names without their versions, which are of sequences longer than those of this genome.
LINES = (("exon", 101, 200, "."), ("CDS", 151, 200, "0"), ("exon", 301, 400, "."), ("CDS", 301, 337, "1"))
GFF3_LINES = (*LINES[:3], ("CDS", 301, 340, "1"))  # its CDS holds the stop codon
STOP = ("stop_codon", 338, 340, "0")
# layout: contig, attributes of the transcript's features, their lines, lines of parents
LAYOUTS = {
    "GENCODE GTF": (
        "chr1", 'gene_id "ENSG1.2"; transcript_id "T1"; gene_type "protein_coding"; gene_name "ABC"; '
        'transcript_type "protein_coding"; transcript_name "ABC-201"; exon_number 1; level 2;', (*LINES, STOP), "",
    ),
    "Ensembl GTF": (
        "1", 'gene_id "ENSG1"; gene_version "2"; transcript_id "T1"; transcript_version "4"; exon_number "1"; '
        'gene_name "ABC"; gene_source "havana"; gene_biotype "protein_coding"; transcript_biotype "protein_coding";',
        (*LINES, STOP), "",
    ),
    "RefSeq GTF": (
        "NC_000001", 'gene_id "ABC"; transcript_id "T1"; db_xref "GeneID:7"; gbkey "mRNA"; gene "ABC"; '
        'product "made up"; transcript_biotype "mRNA"; exon_number "1";', (*LINES, STOP), "",
    ),
    "GENCODE GFF3": (
        "chr1", "ID=exon:T1:1;Parent=T1;gene_id=ENSG1.2;transcript_id=T1;gene_type=protein_coding;gene_name=ABC;"
        "transcript_type=protein_coding;transcript_name=ABC-201;level=2", (*GFF3_LINES, STOP),
        "chr1|HAVANA|gene|101|400|.|+|.|ID=ENSG1.2;gene_id=ENSG1.2;gene_type=protein_coding;gene_name=ABC\n"
        "chr1|HAVANA|transcript|101|400|.|+|.|ID=T1;Parent=ENSG1.2;gene_id=ENSG1.2;transcript_id=T1;"
        "gene_type=protein_coding;gene_name=ABC;transcript_type=protein_coding\n",
    ),
    "Ensembl GFF3": (
        "1", "Parent=transcript:T1;Name=ENSE1;constitutive=0;exon_id=ENSE1;rank=1;version=2", GFF3_LINES,
        "1|ensembl_havana|gene|101|400|.|+|.|ID=gene:ENSG1;Name=ABC;biotype=protein_coding;gene_id=ENSG1\n"
        "1|ensembl_havana|mRNA|101|400|.|+|.|ID=transcript:T1;Parent=gene:ENSG1;Name=ABC-201;biotype=protein_coding\n",
    ),
    "RefSeq GFF3": (
        "NC_000001", "ID=exon-T1-1;Parent=rna-T1;Dbxref=GeneID:7,GenBank:T1;gbkey=mRNA;gene=ABC;transcript_id=T1",
        GFF3_LINES,
        "NC_000001|BestRefSeq|gene|101|400|.|+|.|ID=gene-ABC;Dbxref=GeneID:7;Name=ABC;gbkey=Gene;gene=ABC;"
        "gene_biotype=protein_coding\n"
        "NC_000001|BestRefSeq|mRNA|101|400|.|+|.|ID=rna-T1;Parent=gene-ABC;Name=T1;gbkey=mRNA;gene=ABC\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_transcript_is_the_same_in_all_published_layouts(genome: Genome, tmp_path: Path, layout: str) -> None:
    contig, attributes, lines, parents = LAYOUTS[layout]
    features = "".join(
        f"{contig}|x|{kind}|{start}|{end}|.|+|{phase}|{attributes}\n" for kind, start, end, phase in lines
    )
    genes = read_genes(write(tmp_path / "genes.txt", parents + features), genome)
    assert rows(genes, "exon") == [("T1", 100, 200, "+"), ("T1", 300, 400, "+")]
    assert rows(genes, "CDS") == [("T1", 150, 200, "+"), ("T1", 300, 340, "+")]
    assert rows(genes, "transcript") == [("T1", 100, 400, "+")]
    assert genes.select("contig", "gene", "biotype").unique().rows() == [("chr1", "ABC", "protein_coding")]


def test_refseqs_gtf_names_transcripts_without_a_record_by_their_gene(genome: Genome, tmp_path: Path) -> None:
    gtf = """
        NC_000001|BestRefSeq|gene|101|400|.|+|.|gene_id "ABC"; transcript_id ""; gbkey "Gene"; gene "ABC";
        NC_000001|BestRefSeq|exon|101|400|.|+|.|gene_id "ABC"; transcript_id "NM_1.2"; transcript_biotype "mRNA";
        NC_000001|BestRefSeq|CDS|151|270|.|+|0|gene_id "ABC"; transcript_id "NM_1.2"; gbkey "CDS"; gene "ABC";
        NC_012920|RefSeq|CDS|11|40|.|+|0|gene_id "ND1"; transcript_id "unknown_transcript_1"; gbkey "CDS"; gene "ND1";
        NC_012920|RefSeq|CDS|51|79|.|+|0|gene_id "ND2"; transcript_id "unknown_transcript_1"; gbkey "CDS"; gene "ND2";
        NC_012920|RefSeq|stop_codon|80|80|.|+|0|gene_id "ND2"; transcript_id "unknown_transcript_1"; gene "ND2";
    """
    genes = read_genes(write(tmp_path / "a.gtf", gtf), genome)
    assert rows(genes, "CDS") == [("ND1", 10, 40, "+"), ("ND2", 50, 80, "+"), ("NM_1.2", 150, 270, "+")]
    assert rows(genes, "transcript") == [("ND1", 10, 40, "+"), ("ND2", 50, 80, "+"), ("NM_1.2", 100, 400, "+")]
    # Only the exons say the biotype.
    assert genes.filter(pl.col("contig") == "chr1").select("gene", "biotype").unique().rows() == [
        ("ABC", "protein_coding")
    ]


def test_ncbi_names_split_stop_codons_and_shared_exons(genome: Genome, tmp_path: Path) -> None:
    text = """
        NC_000001|RefSeq|gene|101|400|.|+|.|ID=gene-XYZ;Name=XYZ;gene=XYZ
        NC_000001|RefSeq|mRNA|101|400|.|+|.|ID=rna-NM_1.2;Parent=gene-XYZ;Name=NM_1.2;gene=XYZ
        NC_000001|RefSeq|exon|101|200|.|+|.|ID=exon-1;Parent=rna-NM_1.2,rna-NM_2.1
        NC_000001|RefSeq|CDS|110|130|.|+|0|ID=cds-1;Parent=rna-NM_1.2
        NC_000001|RefSeq|CDS|130|150|.|+|0|ID=cds-1;Parent=rna-NM_1.2
        NC_012920|RefSeq|CDS|11|40|.|+|0|ID=cds-2;Parent=gene-ND1
        NC_012920|RefSeq|gene|11|40|.|+|.|ID=gene-ND1;Name=ND1
    """
    genes = read_genes(write(tmp_path / "a.gff3", text), genome)
    assert rows(genes, "exon") == [("ND1", 10, 40, "+"), ("NM_1.2", 100, 200, "+"), ("NM_2.1", 100, 200, "+")]
    # Segments that overlap where the ribosome slips stay two.
    assert rows(genes, "CDS") == [("ND1", 10, 40, "+"), ("NM_1.2", 109, 130, "+"), ("NM_1.2", 129, 150, "+")]
    assert set(genes.select("contig", "transcript_id", "gene").rows()) == {
        ("chr1", "NM_1.2", "XYZ"),
        ("chr1", "NM_2.1", "NM_2.1"),
        ("chrM", "ND1", "ND1"),
    }
    gtf = """
        chr1|t|exon|101|200|.|+|.|gene_id "G"; transcript_id "T";
        chr1|t|exon|301|400|.|+|.|gene_id "G"; transcript_id "T";
        chr1|t|CDS|141|199|.|+|0|gene_id "G"; transcript_id "T";
        chr1|t|stop_codon|200|200|.|+|0|gene_id "G"; transcript_id "T";
        chr1|t|stop_codon|301|302|.|+|2|gene_id "G"; transcript_id "T";
    """
    assert rows(read_genes(write(tmp_path / "b.gtf", gtf), genome), "CDS") == [
        ("T", 140, 200, "+"),
        ("T", 300, 302, "+"),
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("000", [0, 2, 1]),  # a column that was never filled in: 100 and 10 bases come before, counted
        ("...", [0, 2, 1]),
        ("021", [0, 2, 1]),
        ("2..", [2, 1, 0]),  # incomplete at the 5' end
        ("021", [0, 2, 1]),
        ("001", [0, 0, 1]),  # the genome lacks a base or two after the first segment: what the file says
    ],
)
def test_phases(
    genome: Genome, tmp_path: Path, given: str, expected: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    spans = [(101, 200), (301, 310), (401, 450)]
    forward = [f'1|t|CDS|{a}|{b}|.|+|{phase}|transcript_id "T";\n' for (a, b), phase in zip(spans, given, strict=True)]
    reverse = [
        f'1|t|CDS|{1001 - b}|{1001 - a}|.|-|{phase}|transcript_id "U";\n'
        for (a, b), phase in zip(spans, given, strict=True)
    ]
    caplog.set_level("INFO")
    genes = read_genes(write(tmp_path / "a.gtf", "".join(forward + reverse)), genome)
    assert phases(genes.filter(pl.col("strand") == "+")) == expected
    assert phases(genes.filter(pl.col("strand") == "-")) == expected[::-1]
    assert ("2 coding sequences have a segment whose phase" in caplog.text) == (given == "001")


SEC = [(149, 152), (159, 160), (199, 201)]  # the second one's codon is cut by an intron


@pytest.mark.parametrize(
    "text",
    [
        # RefSeq's GFF3: on every segment of the protein
        """
        NC_000001|RefSeq|gene|101|400|.|+|.|ID=gene-XYZ;Name=XYZ;gene=XYZ
        NC_000001|RefSeq|mRNA|101|400|.|+|.|ID=rna-T;Parent=gene-XYZ;gene=XYZ
        NC_000001|RefSeq|CDS|141|160|.|+|0|ID=c;Parent=rna-T;transl_except=(pos:150..152%2Caa:Sec)%2C(pos:join(160%2C200..201)%2Caa:Sec),(pos:210..212%2Caa:Met)
        NC_000001|RefSeq|CDS|200|250|.|+|1|ID=c;Parent=rna-T;transl_except=(pos:150..152%2Caa:Sec)%2C(pos:join(160%2C200..201)%2Caa:Sec),(pos:210..212%2Caa:Met)
        """,
        # RefSeq's GTF
        """
        NC_000001|RefSeq|CDS|141|160|.|+|0|transcript_id "T"; transl_except "(pos:150..152,aa:Sec)";
        NC_000001|RefSeq|CDS|200|250|.|+|1|transcript_id "T"; transl_except "(pos:join(160,200..201),aa:Sec)";
        """,
        # Ensembl's and GENCODE's GTF
        """
        1|havana|CDS|141|160|.|+|0|gene_id "XYZ"; transcript_id "T";
        1|havana|CDS|200|250|.|+|1|gene_id "XYZ"; transcript_id "T";
        1|havana|Selenocysteine|150|152|.|+|.|gene_id "XYZ"; transcript_id "T";
        1|havana|Selenocysteine|160|160|.|+|.|gene_id "XYZ"; transcript_id "T";
        1|havana|Selenocysteine|200|201|.|+|.|gene_id "XYZ"; transcript_id "T";
        """,
        # GENCODE's GFF3
        """
        chr1|HAVANA|gene|101|400|.|+|.|ID=G;gene_name=XYZ
        chr1|HAVANA|transcript|101|400|.|+|.|ID=T;Parent=G;gene_name=XYZ
        chr1|HAVANA|CDS|141|160|.|+|0|ID=CDS:T;Parent=T
        chr1|HAVANA|CDS|200|250|.|+|1|ID=CDS:T;Parent=T
        chr1|HAVANA|stop_codon_redefined_as_selenocysteine|150|152|.|+|0|ID=s:T;Parent=T
        chr1|HAVANA|stop_codon_redefined_as_selenocysteine|160|160|.|+|0|ID=s:T;Parent=T
        chr1|HAVANA|stop_codon_redefined_as_selenocysteine|200|201|.|+|2|ID=s:T;Parent=T
        """,
    ],
    ids=["RefSeq GFF3", "RefSeq GTF", "Ensembl GTF", "GENCODE GFF3"],
)  # fmt: skip
def test_selenocysteines(genome: Genome, tmp_path: Path, text: str) -> None:
    genes = read_genes(write(tmp_path / "genes.txt", text), genome)
    assert rows(genes, "selenocysteine") == [("T", start, end, "+") for start, end in SEC]
    assert rows(genes, "CDS") == [("T", 140, 160, "+"), ("T", 199, 250, "+")]


def test_a_selenocysteine_of_the_reverse_strand(genome: Genome, tmp_path: Path) -> None:
    text = """
        1|RefSeq|mRNA|101|400|.|-|.|ID=rna-T;gene=XYZ
        1|RefSeq|CDS|141|160|.|-|0|ID=c;Parent=rna-T;transl_except=(pos:complement(150..152)%2Caa:Sec)
    """
    assert rows(read_genes(write(tmp_path / "a.gff3", text), genome), "selenocysteine") == [("T", 149, 152, "-")]


def test_a_first_segment_shorter_than_its_phase(genome: Genome, tmp_path: Path) -> None:
    gtf = """
        1|t|CDS|101|101|.|+|2|gene_id "G"; transcript_id "T";
        1|t|CDS|201|212|.|+|1|gene_id "G"; transcript_id "T";
    """
    genes = read_genes(write(tmp_path / "a.gtf", gtf), genome)
    assert rows(genes, "CDS") == [("T", 100, 101, "+"), ("T", 200, 212, "+")] and phases(genes) == [2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7|t|exon|1|20|.|+|.|Parent=T\n", "none of the FASTA's contigs: it has 7, .* has chr1, chrM"),
        ("1|t|exon|900|1001|.|+|.|Parent=T\n", "1 features reach beyond .* first 1001 on chr1, which has 1000 bp"),
        ("1|t|exon|x|20|.|+|.|Parent=T\n", "1 lines are malformed"),
        ("1|t|exon|30|20|.|+|.|Parent=T\n", "1 lines are malformed"),
        ("1|t|exon|1|20\n", "fewer than 9 tab-separated columns"),
        ("1|t|gene|1|20|.|+|.|ID=T\n", "holds no exon or CDS"),
        ("# nothing\n", "holds no exon or CDS"),
    ],
)
def test_faulty_genes(genome: Genome, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_genes(write(tmp_path / "a.gff3", text), genome)
    with pytest.raises(InputError, match="not found"):
        read_genes(tmp_path / "absent.gtf", genome)


def test_repeatmasker_out(genome: Genome, tmp_path: Path) -> None:
    text = """
           SW   perc perc perc  query     position in query    matching  repeat           position in repeat
        score   div. del. ins.  sequence  begin end   (left)   repeat    class/family   begin  end    (left)  ID

          463   1.3  0.6  1.7  chr1         11    40    (960) +  (TAACCC)n Simple_repeat        1  471    (0)      1
         3612  11.4 21.5  1.3  chr1         51    90    (910) C  TAR1      Satellite/telo   (399) 1712    483      2
          484  25.1 13.2  0.0  chr1        101   150    (850) C  L1MC5a    LINE/L1         (2382)  395    199      3
          239  29.4  1.9  1.0  chr1        201   250    (750) +  A-rich    Low_complexity        1   50    (0)      4 *
           30   9.4  1.9  1.0  chr1        301   350    (650) +  tRNA-Ala  tRNA                  1   50    (0)      5
           30   9.4  1.9  1.0  chrUn       301   350    (650) +  AluSx     SINE/Alu              1   50    (0)      6
    """
    expected = [(10, 40, "simple"), (50, 90, "simple"), (100, 150, "transposon"), (200, 250, "low_complexity")]
    repeats = read_repeats(write(tmp_path / "a.out.gz", text), genome)
    assert repeats.select("start_bp", "end_bp", "repeat_class").rows() == expected
    headless = "\n".join(textwrap.dedent(text).splitlines()[4:]) + "\n"
    assert read_repeats(write(tmp_path / "b.out", headless), genome).equals(repeats)


def test_bed(genome: Genome, tmp_path: Path) -> None:
    names = ["(AC)n", "GA-rich", "AluSx", "chr1:500", "LINE/L1", "Simple_repeat", "tRNA-Ala-GCA", "ALR/Alpha", "trf"]
    text = "track name=x\n" + "".join(f"1|{10 * i}|{10 * i + 5}|{name}|0|+\n" for i, name in enumerate(names))
    repeats = read_repeats(write(tmp_path / "a.bed", text), genome)
    classes = ["simple", "low_complexity", "transposon", "segmental_dup", "transposon", "simple", "simple", "simple"]
    assert repeats["repeat_class"].to_list() == classes
    assert repeats["start_bp"].to_list() == [0, 10, 20, 30, 40, 50, 70, 80]
    bare = write(tmp_path / "b.bed", "1|5|9\n")
    with pytest.raises(InputError, match="no name column"):
        read_repeats(bare, genome)
    assert read_repeats(bare, genome, "segmental_dup").rows() == [("chr1", 5, 9, "segmental_dup")]
    with pytest.raises(ValueError, match="expected one of simple"):
        read_repeats(bare, genome, "sine")
    with pytest.raises(InputError, match="holds no repeats"):
        read_repeats(write(tmp_path / "c.bed", "# nothing\n"), genome)


RMSK = """
    585|463|13|6|17|chr1|10|40|-960|+|(TAACCC)n|Simple_repeat|Simple_repeat|1|471|0|1
    585|3612|114|215|13|chr1|50|90|-910|-|L1MC5a|LINE|L1|399|1712|483|2
    585|30|94|19|10|chr1|100|150|-850|+|tRNA-Ala|tRNA|tRNA|1|50|0|3
"""
TANDEM = "585|chr1|200|220|trf|2|10.0|2|100|0|40|50|50|0|0|1.0|AC\n"
DUPLICATED = "585|chr1|300|350|chr5:180|0|+|chr5|180|230|" + "|".join(["7"] * 20) + "\n"


@pytest.mark.parametrize("has_bin", [True, False])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RMSK, [(10, 40, "simple"), (50, 90, "transposon")]),
        (TANDEM, [(200, 220, "simple")]),
        (DUPLICATED, [(300, 350, "segmental_dup")]),
    ],
)
def test_ucsc_tables_as_dumped_and_as_the_table_browser_gives_them(
    genome: Genome, tmp_path: Path, text: str, expected: list[tuple[int, int, str]], has_bin: bool
) -> None:
    lines = textwrap.dedent(text).strip().splitlines()
    if not has_bin:
        lines = ["#made|by|the|table|browser", *(line.split("|", 1)[1] for line in lines)]
    repeats = read_repeats(write(tmp_path / "table.txt.gz", "\n".join(lines) + "\n"), genome)
    assert repeats.select("start_bp", "end_bp", "repeat_class").rows() == expected


def test_a_table_of_something_else_is_refused(genome: Genome, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lines are malformed"):
        read_repeats(write(tmp_path / "x.txt", "rs1|chr1|A|G\n"), genome)


@pytest.fixture(scope="module")
def grch38(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    return Genome.open(SHARED / "grch38" / "reference.fa.gz", tmp_path_factory.mktemp("cache"))


@needs_shared_data
def test_real_genes_read_as_proteins(grch38: Genome) -> None:
    """Ensembl's chr21: where the bases are known, complete coding sequences begin with ATG and end with a stop."""
    genes = read_genes(SHARED / "grch38" / "chr21_genes.gff3.gz", grch38)
    assert genes["contig"].unique().to_list() == ["chr21"]  # the file says 21
    assert genes.filter(pl.col("feature") == "transcript").height == 2_414
    bases = grch38.bases("chr21").tobytes().decode()
    complement = str.maketrans("ACGT", "TGCA")
    begins, ends, stops = [], [], []
    cds = genes.filter((pl.col("feature") == "CDS") & (pl.col("biotype") == "protein_coding"))
    for (_, strand), part in cds.sort("start_bp").group_by("transcript_id", "strand"):
        sequence = "".join(bases[start:end] for start, end in part.select("start_bp", "end_bp").rows())
        if "N" in sequence:
            continue
        sequence = sequence if strand == "+" else sequence.translate(complement)[::-1]
        codons = [sequence[i : i + 3] for i in range(0, len(sequence), 3)]
        begins.append(codons[0] == "ATG")
        ends.append(codons[-1] in ("TAA", "TAG", "TGA"))
        stops.append(any(codon in ("TAA", "TAG", "TGA") for codon in codons[:-1]))
    assert len(begins) > 15
    assert np.mean(begins) > 0.9 and np.mean(ends) > 0.8  # the others are annotated as incomplete
    assert sum(stops) == 0


@needs_shared_data
def test_real_repeats(grch38: Genome) -> None:
    repeats = read_repeats(SHARED / "grch38" / "chr22_rmsk.bed.gz", grch38)
    counts = dict(repeats["repeat_class"].value_counts().rows())
    assert counts.keys() == {"simple", "low_complexity", "transposon"}
    assert 0.85 < counts["transposon"] / repeats.height < 0.9
    # The places are right if what is called simple is simple: few different three-letter words for its length.
    variety: dict[str, list[float]] = {name: [] for name in counts}
    for _, start, end, name in repeats.rows():
        sequence = grch38.window("chr22", start, end).tobytes()
        if b"N" not in sequence:
            variety[name].append(len({sequence[i : i + 3] for i in range(30)}) / 30)
    assert np.median(variety["simple"]) < 0.4 < 0.6 < np.median(variety["transposon"])
