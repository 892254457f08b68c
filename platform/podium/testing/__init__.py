"""For those who write adapters: conformance suites, fault injectors and simulations. Needs pytest."""
