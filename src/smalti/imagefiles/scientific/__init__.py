"""Volumes and series of science and medicine: DICOM, FITS, NIfTI, MRC, NRRD."""
