"""Small texts as QR pictures: the dark and light modules, for whoever draws them."""

from __future__ import annotations

from openstall.market.errors import Conflict
from openstall.market.exchange import MAX_QR


def modules(text: str) -> list[str]:
    """The rows of the picture without its margin: `1` is dark, `0` is light.

    Raises:
        Conflict: the text is too long for a picture that a telephone still reads.
    """
    if len(text.encode()) > MAX_QR:
        raise Conflict(
            "too_long",
            f"This is too long for a picture: {len(text):,} characters, {MAX_QR:,} fit.",
            "Use the text or a file.",
        )
    import segno  # late: most nodes never draw one

    code = segno.make(text, error="L", micro=False)
    return ["".join("1" if module else "0" for module in row) for row in code.matrix]


def in_terminal(rows: list[str]) -> str:
    """The picture in characters, two rows a line, with its margin of four modules."""
    width = len(rows[0]) + 8
    padded = ["0" * width] * 4 + [f"0000{row}0000" for row in rows] + ["0" * width] * 4
    if len(padded) % 2:
        padded.append("0" * width)
    # Light is drawn, so that the picture is right on a dark terminal, and telephones read it on both.
    marks = {"00": "█", "01": "▀", "10": "▄", "11": " "}
    return "\n".join(
        "".join(marks[a + b] for a, b in zip(upper, lower, strict=True))
        for upper, lower in zip(padded[::2], padded[1::2], strict=True)
    )
