"""Further encoded images: JPEG and its kin, JPEG XL, AVIF, HEIC, Netpbm, QOI, DDS."""
