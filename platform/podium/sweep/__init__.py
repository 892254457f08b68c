"""The brain of a sweep, pure, and its one loop. No Ray, torch, Optuna, Dask or MLflow may enter."""
