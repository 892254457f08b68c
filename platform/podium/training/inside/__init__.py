"""Training: seeing inside of a trained network. Pictures as plain tensors, of nothing but validation data."""
