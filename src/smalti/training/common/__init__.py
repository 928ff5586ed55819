"""What fits of every kind share: processes, images, scaling, files of tensors."""
