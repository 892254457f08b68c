"""Training: what a trial does on one gang, from its parameters to its reports and checkpoints."""
