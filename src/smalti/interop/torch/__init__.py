"""Archives as PyTorch datasets.

    dataset = ArchiveDataset("digits.smalti")
    sampler = BlockShuffleSampler(dataset, seed=0)
    loader = DataLoader(dataset, batch_size=256, sampler=sampler, num_workers=2)

See docs/pytorch.md. Needs the extra `smalti[train]`; MissingDependencyError names it if torch is missing.
"""
