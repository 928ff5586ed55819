"""The parts of a fit that all kinds of models share: processes, images, scaling, files of tensors."""
