"""What the user asks for: the search space, the sweep's settings, and the file they are written in. Pure."""
