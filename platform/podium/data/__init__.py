"""Data: sources, splits, shards, and the reader that hands out batches. Dask lives here and nowhere else."""
