"""Genomes, variants and edits: the world that the model acts on (spec 1 and 3).

Belongs here: edits and how they change a window (`edits`), DNA tokens (`tokens`), the memory-mapped reference and its
grid of windows (`genome`), VCF reading (`vcf_reader`) and allele normalisation with its accounting (`alleles`),
synthetic edits (`samplers`), annotation (`context`). Does not: anything that needs PyTorch or an encoder.

Coordinates: `pos` is 1-based as in VCF; every name that ends in `_bp`, and `rel_pos`, is 0-based, spans half-open.
"""
