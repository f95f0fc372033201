"""Parallel `dvc repro`: local processes or Slurm jobs, one stage per core or GPU."""
