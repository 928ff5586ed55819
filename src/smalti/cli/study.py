"""`smalti study`."""


def study_command() -> None:
    """Repeat the codebook study."""
