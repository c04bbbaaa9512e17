"""Decodes untrusted images: one set of formats, limits and conversions for uploads and entries of zip files."""
