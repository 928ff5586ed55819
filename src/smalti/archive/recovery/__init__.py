"""Recovery sections: parity by which lost sections are made again (docs/format.md, "Recovery").

Writing and using them needs the extra `smalti[recovery]`; reading and testing an archive never does.
"""
