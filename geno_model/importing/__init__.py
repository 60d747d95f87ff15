"""Consumer genotype exports to VCF (spec 5, "geno-import").

Belongs here: reading an export (`export_reader`), what becomes of each of its rows beside a reference (`genotypes`),
the VCF (`vcf_output`), and the three put together (`import_export`). Does not: options, scoring, lift-over.
"""
