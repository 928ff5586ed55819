"""Image files (PNG, JPEG, TIFF, ...): headers, pixels, and PNG files to be written.

`table` lists the formats that are read. A further format is a module in the folder of its
family and a line in that table. Layer: above
`smalti.archive`, below the sources; it uses only `smalti.errors` and the contract of `smalti.images`.
"""
