"""What a file is by the end of its name: pictures that are read, and kinds that are counted but not read."""

from __future__ import annotations

DEVELOPED_SUFFIXES = frozenset([".jpg", ".jpeg", ".jpe", ".heic", ".heif", ".hif"])
_BY_MAKER = {
    "Adobe": (".dng",),
    "Canon": (".cr2", ".cr3", ".crw"),
    "Epson": (".erf",),
    "Fujifilm": (".raf",),
    "Hasselblad": (".3fr",),
    "Kodak": (".kdc", ".dcr"),
    "Leaf, Mamiya": (".mos", ".mef"),
    "Leica, Panasonic": (".rwl", ".rw2"),
    "Minolta": (".mrw",),
    "Nikon": (".nef", ".nrw"),
    "Olympus": (".orf",),
    "Pentax": (".pef",),
    "Phase One": (".iiq",),
    "Samsung": (".srw",),
    "Sigma": (".x3f",),
    "Sony": (".arw", ".srf", ".sr2"),
}
RAW_SUFFIXES = frozenset(suffix for suffixes in _BY_MAKER.values() for suffix in suffixes)
PICTURE_SUFFIXES = DEVELOPED_SUFFIXES | RAW_SUFFIXES
PICTURE_SUFFIXES |= frozenset(
    [".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".jxl", ".tif", ".tiff", ".gif", ".bmp", ".dib"]
)
_KINDS_NOT_READ = {
    "video": ".mp4 .mov .m4v .avi .mkv .mts .m2ts .3gp .webm .wmv .mpg .mpeg .insv",
    "psd": ".psd .psb",
    "jpeg_2000": ".jp2 .j2k .jpf .jpx",
    "other_pictures": ".svg .xcf .kra .exr .hdr .tga .eps .ai .ico .pcx .pnm .ppm .pgm",
}
NOT_READ = {suffix: kind for kind, suffixes in _KINDS_NOT_READ.items() for suffix in suffixes.split()}
