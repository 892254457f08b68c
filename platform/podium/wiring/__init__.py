"""From a spec to concrete parts, and what a user does with a sweep; the only room that knows every adapter."""
