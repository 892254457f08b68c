"""Drawing: one visual language for all that is looked at, and the charts of sweeps as plain data, SVG and pages."""
