"""How good the model is: metrics, benchmarks, rollout, plots and the report (spec 6).

Belongs here: plain functions from arrays and tables to numbers, pictures and pages. One place computes each figure; the
assets, checks and the report read it. Does not belong here: running a model, Dagster.
"""
