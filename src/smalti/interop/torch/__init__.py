"""Archives as PyTorch datasets.

    dataset = ArchiveDataset("digits.smalti")
    sampler = BlockShuffleSampler(dataset, seed=0)
    loader = DataLoader(dataset, batch_size=256, sampler=sampler, num_workers=2)

See docs/pytorch.md. Needs the extra `smalti[train]`; MissingDependencyError names it if torch is missing.
"""

from smalti.errors import MissingDependencyError

try:
    from smalti.interop.torch.dataset import ArchiveDataset
    from smalti.interop.torch.decoder import TokenDecoder
    from smalti.interop.torch.sampler import BlockShuffleSampler
except ModuleNotFoundError as _error:
    if _error.name != "torch":
        raise
    raise MissingDependencyError.of("smalti.interop.torch", "torch", "train") from _error

__all__ = ["ArchiveDataset", "BlockShuffleSampler", "TokenDecoder"]
