"""What the study's codec is compared with: classical codecs and a VAE, on the same images, in real bytes."""
