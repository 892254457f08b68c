"""Where advances run: in this process, on Ray, or in a simulation. Ray has its only home here."""
