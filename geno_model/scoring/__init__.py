"""Scoring: from alleles to raw surprise, displacement and percentiles, and VCF in and out (spec 5).

Belongs here: raw scores (`surprise`) and the windows that they are of (`windows`), the calibration tables and
percentiles (`calibration`), a release put to work (`scorer`), a whole VCF in chunks (`score_vcf`) with its regions
(`regions`), what is kept of an interrupted run (`parts`), output files (`vcf_io`, `bgzip`), the page about a run
(`report`), receipts of it (`receipts`) and their verification (`verify`). Does not: command-line options, evaluation.
"""
