"""Clusters: their names and addresses, what starts them, and what runs on them for someone elsewhere."""
