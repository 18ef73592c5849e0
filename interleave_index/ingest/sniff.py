"""What a file is, by its first bytes and never by its name. Knows bytes only."""

from __future__ import annotations

HEAD = 64  # bytes that `sniff` wants to see

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_BMP_HEADERS = {12, 40, 52, 56, 64, 108, 124}
_RAW_HEADS = (b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FUJIFILMCCD-RAW")


def sniff(head: bytes) -> str | None:
    """Name the picture format that these first bytes announce.

    Args:
        head: the first `HEAD` bytes of a file, or all of a shorter one.
    Returns:
        ``JPEG PNG WEBP HEIF AVIF JXL TIFF GIF BMP``, ``RAW`` for a camera's raw file, or None for anything else.
        Many raw files are TIFF inside and differ only by their tags: they are TIFF here.

    >>> sniff(bytes.fromhex("ffd8ffe0")), sniff(b"GIF89a"), sniff(b"not a picture")
    ('JPEG', 'GIF', None)
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "JXL"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(_RAW_HEADS) or (head[:4] == b"II*\0" and head[8:10] == b"CR"):
        return "RAW"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[:2] == b"BM" and head[6:10] == bytes(4) and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return None


def _iso_media(head: bytes) -> str | None:
    """HEIF and AVIF share a container with films: the brands say which it is."""
    length = max(16, min(int.from_bytes(head[:4], "big"), len(head)))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
    if brands[0] == b"crx ":
        return "RAW"
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return "AVIF"
        if brand in _HEIF_BRANDS:
            return "HEIF"
    return "HEIF" if brands[0] in (b"mif1", b"msf1") else None
