"""The study's report: its tables, its words and its page, made only from the results."""
