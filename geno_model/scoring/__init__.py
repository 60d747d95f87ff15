"""Scoring: from alleles to raw surprise, displacement and percentiles, and VCF in and out (spec 5).

Belongs here: raw scores (`surprise`), the calibration table and percentiles (`calibration`), a release put to work
(`scorer`), output files (`vcf_io`), a whole VCF in chunks (`score_vcf`), receipts of it (`receipts`) and their
verification (`verify`). Does not: command-line options, evaluation.
"""
