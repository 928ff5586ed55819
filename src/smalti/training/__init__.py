"""Fitting codecs with PyTorch: network, quantiser, training loop, model files. It knows nothing of archives."""

from smalti.training.distributed import ALONE, Group, RankError, joined
from smalti.training.finetuning import quantize_decoder
from smalti.training.fit import FitInterruptedError, SilentObserver, choose_device, fit
from smalti.training.images import TrainingImages, to_unit_range
from smalti.training.model import Model
from smalti.training.network import DOWNSAMPLING, VQVAE, Decoder, Encoder, padded_size
from smalti.training.quantizer import Codebook, Quantized, VectorQuantizer
from smalti.training.report import EpochReport, FitObserver, QuantizationReport, TokenStatistics, token_statistics
from smalti.training.scaling import PixelScale
from smalti.training.settings import PROFILES, FitSettings, QuantizerSettings, profile_settings
from smalti.training.validation import Validation, validate

__all__ = [
    "ALONE",
    "DOWNSAMPLING",
    "PROFILES",
    "VQVAE",
    "Codebook",
    "Decoder",
    "Encoder",
    "EpochReport",
    "FitInterruptedError",
    "FitObserver",
    "FitSettings",
    "Group",
    "Model",
    "PixelScale",
    "QuantizationReport",
    "Quantized",
    "QuantizerSettings",
    "RankError",
    "SilentObserver",
    "TokenStatistics",
    "TrainingImages",
    "Validation",
    "VectorQuantizer",
    "choose_device",
    "fit",
    "joined",
    "padded_size",
    "profile_settings",
    "quantize_decoder",
    "to_unit_range",
    "token_statistics",
    "validate",
]
