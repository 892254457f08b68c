"""Registry: the best model as plain MLflow, and which version is in force. No trial is run here."""
