"""Proposing parameters: the view of the ledger that Optuna is shown, and the samplers. Optuna lives here alone."""
