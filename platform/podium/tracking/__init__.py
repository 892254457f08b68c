"""Tracking: MLflow as a projection of the ledger, and where a sweep comes from. The driver calls none of it."""
