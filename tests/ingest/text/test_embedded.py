"""What is written inside a photo's file is said once, without what cameras write by themselves."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from interleave_index.ingest.text.described import BOILERPLATE
from interleave_index.ingest.text.embedded import embedded_texts

DESCRIPTION, COMMENT, TITLE, KEYWORDS, SUBJECT = 0x010E, 0x9C9C, 0x9C9B, 0x9C9E, 0x9C9F


def opened(data):
    return Image.open(io.BytesIO(data))


def jpeg(main=None, comment=None, xmp=None, iptc=None):
    exif = Image.Exif()
    exif.update(main or {})
    if comment is not None:
        exif.get_ifd(0x8769)[0x9286] = comment
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG", exif=exif.tobytes(), **({"xmp": xmp} if xmp else {}))
    data = out.getvalue()
    if iptc is not None:
        block = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
        data = data[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + data[2:]
    return data


def record(name, text):
    return bytes((0x1C, *name)) + struct.pack(">H", len(text)) + text


def said(data):
    source = embedded_texts(opened(data))
    return [passage.text for passage in source.passages] if source else None


def packet(properties):
    return f"""<?xpacket begin=''?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
      xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/">
      <rdf:Description>{properties}</rdf:Description></rdf:RDF></x:xmpmeta>""".encode()


def test_a_photo_without_texts_says_nothing():
    assert said(jpeg()) is None


def test_title_and_description_are_one_passage_about_no_named_photo_and_keywords_another():
    source = embedded_texts(
        opened(
            jpeg(
                {
                    DESCRIPTION: "Ilse feeds the ducks.",
                    TITLE: "Day at the pond\0".encode("utf-16-le"),
                    KEYWORDS: "duck; pond;\0".encode("utf-16-le"),
                }
            )
        )
    )
    assert source is not None and source.kind == "embedded"
    first, second = source.passages
    assert (first.text, second.text) == ("Day at the pond. Ilse feeds the ducks.", "duck, pond")
    assert first.about == second.about == ()


def test_a_description_in_utf_8_is_read_as_such_and_one_of_a_single_byte_as_western():
    data = jpeg({DESCRIPTION: "Zo?? at noon"})
    assert said(data.replace(b"Zo??", "Zoë".encode())) == ["Zoë at noon"]
    assert said(data.replace(b"Zo??", b"Zo\xeb ")) == ["Zoë at noon"]


@pytest.mark.parametrize(
    "comment",
    [
        b"ASCII\0\0\0Hello you",
        b"\0\0\0\0\0\0\0\0Hello you",
        b"UNICODE\0" + "Hello you".encode("utf-16-le"),
        b"UNICODE\0" + "Hello you".encode("utf-16-be"),
        b"UNICODE\0" + "Hello you".encode("utf-16"),
        b"Hello you",
        b"ASCII\0\0\0Hello you\0\0\0rubbish",
    ],
)
def test_a_users_comment_is_read_in_each_of_its_charsets(comment):
    assert said(jpeg(comment=comment)) == ["Hello you"]


def test_iptc_says_title_headline_caption_and_keywords_in_either_charset():
    names = [(2, 105), (2, 120), (2, 25), (2, 25)]
    words = ["Zoë", "Jumps", "Übung", "sport"]
    for charset, start in (("utf-8", record((1, 90), b"\x1b%G")), ("latin-1", b"")):
        block = start + b"".join(record(n, w.encode(charset)) for n, w in zip(names, words, strict=True))
        assert said(jpeg(iptc=block)) == ["Zoë. Jumps", "Übung, sport"]


def test_xmp_inside_a_file_is_read_as_that_of_a_sidecar():
    xmp = packet(
        "<dc:title><rdf:Alt><rdf:li xml:lang='x-default'>Lake</rdf:li></rdf:Alt></dc:title>"
        "<dc:subject><rdf:Bag><rdf:li>boat</rdf:li></rdf:Bag></dc:subject>"
    )
    assert said(jpeg(xmp=xmp)) == ["Lake", "boat"]


def test_what_several_fields_say_alike_or_cut_short_is_said_once():
    caption = "A red boat on the lake"
    data = jpeg(
        {DESCRIPTION: caption.upper()},
        comment=b"ASCII\0\0\0A red boat",
        xmp=packet(f"<dc:description><rdf:Alt><rdf:li xml:lang='en'>{caption}.</rdf:li></rdf:Alt></dc:description>"),
        iptc=record((2, 120), caption.encode()) + record((2, 25), b"boat") + record((2, 25), b"boat"),
    )
    assert said(data) == [f"{caption}.", "boat"]


@pytest.mark.parametrize(
    "text",
    ["OLYMPUS DIGITAL CAMERA         ", "SONY DSC", "  ", "...", "DCIM\\100MEDIA\\DJI_1.JPG", '{"a": 1}', "a.jpg"],
)
def test_what_cameras_and_programs_write_by_themselves_is_left_out(text):
    assert said(jpeg({DESCRIPTION: text})) is None


def test_boilerplate_is_compared_without_case_so_it_is_listed_in_lower_case():
    assert all(text == text.lower() for text in BOILERPLATE)


def test_that_a_picture_is_a_screenshot_is_said():
    assert said(jpeg(comment=b"ASCII\0\0\0Screenshot")) == ["Screenshot"]


def test_a_field_of_enormous_length_is_cut(monkeypatch):
    data = jpeg({DESCRIPTION: ("word " * 9000).strip()})
    assert len(said(data)) == 9000 / 60
    monkeypatch.setattr("interleave_index.ingest.text.embedded.MAX_CHARACTERS", 50)
    assert said(data) == [("word " * 10).strip()]


@pytest.mark.slow
def test_two_thousand_damaged_files_never_raise():
    damaged(2000)


def test_damaged_files_never_raise():
    damaged(100)


def damaged(number):
    data = jpeg(
        {DESCRIPTION: "Ilse feeds the ducks.", KEYWORDS: "duck;pond".encode("utf-16-le")},
        comment=b"UNICODE\0" + "Hello".encode("utf-16-le"),
        xmp=packet("<dc:title><rdf:Alt><rdf:li>Lake</rdf:li></rdf:Alt></dc:title>"),
        iptc=record((1, 90), b"\x1b%G") + record((2, 120), b"Jumps") + record((2, 25), b"sport"),
    )
    random = np.random.default_rng(0)
    end = data.index(b"\xff\xdb")  # all that is read stands before the pixels
    opened_files = 0
    for _ in range(number):
        changed = bytearray(data)
        for at in random.integers(2, end, size=random.integers(1, 12)):
            changed[at] = random.integers(256)
        try:
            with warnings.catch_warnings(action="ignore"):  # Pillow warns of damage
                image = opened(bytes(changed))
        except (OSError, SyntaxError, ValueError, struct.error):
            continue  # a file that cannot be opened has no texts
        opened_files += 1
        source = embedded_texts(image)
        for passage in source.passages if source else ():
            passage.text.encode("utf-8")
    assert opened_files > number / 3
