"""Size limits of every untrusted image, uploaded or in a zip file."""

MAX_PIXELS = 8192 * 8192  # that an image may declare: a phone's 64 megapixels
KEPT_PIXELS = 25_000_000  # above these, the sides of an image are divided by 2, 4 or 8
