"""The study's report: its tables, its words and its page, all made from the results alone."""
