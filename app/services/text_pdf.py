"""A table of text as a PDF: A4 pages, one of the fonts that every reader has, nothing else.

The application has no library for PDF outside the desktop's Qt, and the command line must write the same
file; what is needed of the format (ISO 32000-1, 7.5) is a page.
"""

from __future__ import annotations

from collections.abc import Sequence

_WIDTH, _HEIGHT, _MARGIN, _LINE = 842, 595, 40, 16  # points; A4 on its side
_SIZE, _TITLE_SIZE = 9, 14
_ROWS = (_HEIGHT - 2 * _MARGIN) // _LINE - 4


def text_pdf(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], foot: str) -> bytes:
    """The whole file. Letters outside Windows-1252 become a question mark; columns are equally wide."""
    pages = [rows[at : at + _ROWS] for at in range(0, len(rows), _ROWS)] or [()]
    contents = [
        _page(title, heads, page, foot if number == len(pages) else "", f"Page {number} of {len(pages)}")
        for number, page in enumerate(pages, start=1)
    ]
    kids = " ".join(f"{4 + 2 * at} 0 R" for at in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for at, content in enumerate(contents):
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {_WIDTH} {_HEIGHT}] /Contents {5 + 2 * at} 0 R "
            "/Resources << /Font << /F 3 0 R >> >> >>".encode(),
            b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        ]
    return _file(objects)


def _page(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], foot: str, number: str) -> bytes:
    step = (_WIDTH - 2 * _MARGIN) // max(1, len(heads))
    y = _HEIGHT - _MARGIN
    parts = [_text(_MARGIN, y, title, _TITLE_SIZE)]
    y -= 2 * _LINE
    for line in (heads, *rows):
        parts += [_text(_MARGIN + at * step, y, cell) for at, cell in enumerate(line)]
        y -= _LINE
    parts += [_text(_MARGIN, y - _LINE // 2, foot), _text(_WIDTH - 2 * _MARGIN, _MARGIN - _LINE, number)]
    return b"\n".join(parts)


def _text(x: int, y: int, words: str, size: int = _SIZE) -> bytes:
    raw = words.encode("cp1252", "replace")
    for letter in (b"\\", b"(", b")"):
        raw = raw.replace(letter, b"\\" + letter)
    return b"BT /F %d Tf %d %d Td (%b) Tj ET" % (size, x, y, raw)


def _file(objects: Sequence[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for place in places:
        out += b"%010d 00000 n \n" % place
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)
