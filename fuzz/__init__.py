"""Coverage-guided search for inputs that a reader of archives does not refuse as it should: see docs/fuzzing.md."""
