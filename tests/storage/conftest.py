from archive.conftest import small

__all__ = ["small"]  # a fixture
