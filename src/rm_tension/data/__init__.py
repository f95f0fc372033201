"""Data sets in, two parquet files out."""
