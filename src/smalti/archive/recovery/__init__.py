"""Recovery sections: parity, from which lost sections are restored (docs/format.md, "Recovery").

Writing and using recovery sections needs the extra `smalti[recovery]`. Reading and testing an archive does not.
"""
