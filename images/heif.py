"""Decodes HEIC files by libheif, which is loaded at the first of them."""

from collections.abc import Callable

from PIL import Image

Rows = Callable[[int, int], Image.Image]


class HeifImage:
    """The primary image of a file, whose header is read; nothing is decoded until `load`.

    libheif applies rotation and mirroring; in this format the EXIF orientation is ignored.
    """

    def __init__(self, data: bytes) -> None:
        import pillow_heif

        options = pillow_heif.options
        options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
        options.DECODE_THREADS = 1
        self._file = pillow_heif.open_heif(data, convert_hdr_to_8bit=True)
        self.size: tuple[int, int] = self._file.size
        self.mode: str = self._file.mode
        info = self._file.info  # with 10 bits, 4:4:4 or alpha, decoding needs two to four times the memory
        self.is_plain = (info.get("bit_depth"), info.get("chroma"), self.mode) == (8, 420, "RGB")
        self.profile: bytes = info.get("icc_profile") or b""

    def load(self) -> Rows:
        """Decodes the pixels; returns a function that returns an image of a range of rows."""
        pixels, stride = memoryview(self._file.data), self._file.stride
        mode, width = {"RGBa": "RGBA"}.get(self.mode, self.mode), self.size[0]

        def rows(top: int, bottom: int) -> Image.Image:
            part = bytes(pixels[top * stride : bottom * stride])
            return Image.frombytes(mode, (width, bottom - top), part, "raw", self.mode, stride, 1)

        return rows
