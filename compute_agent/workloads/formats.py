"""Tells what a file is by its first bytes, never by its name, and why most kinds are refused."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

HEAD_BYTES: Final = 4096
_TAR_AT: Final = 257
_MAX_HEADER: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Format:
    """`refusal` is empty for a format that the market takes."""

    name: str
    refusal: str = ""


_PICKLE_WORDS: Final = "a pickle runs code of the author's choice when it is loaded"
_RUNS: Final = "it is a program, not a model"
_ARCHIVE_WORDS: Final = "archives are not taken: they hide what they contain, and PyTorch's hold pickles"

_MAGIC: Final = (
    (b"\x7fELF", Format("elf", f"{_RUNS} (Linux executable)")),
    (b"MZ", Format("pe", f"{_RUNS} (Windows executable)")),
    (b"\xfe\xed\xfa\xce", Format("mach-o", f"{_RUNS} (macOS executable)")),
    (b"\xfe\xed\xfa\xcf", Format("mach-o", f"{_RUNS} (macOS executable)")),
    (b"\xce\xfa\xed\xfe", Format("mach-o", f"{_RUNS} (macOS executable)")),
    (b"\xcf\xfa\xed\xfe", Format("mach-o", f"{_RUNS} (macOS executable)")),
    (b"\xca\xfe\xba\xbe", Format("mach-o", f"{_RUNS} (macOS executable or Java class)")),
    (b"\0asm", Format("wasm", f"{_RUNS} (WebAssembly)")),
    (b"#!", Format("script", f"{_RUNS} (script)")),
    (b"GGUF", Format("gguf", "GGUF files carry chat templates, which are code; export to safetensors")),
    (b"PK\x03\x04", Format("zip", _ARCHIVE_WORDS)),
    (b"PK\x05\x06", Format("zip", _ARCHIVE_WORDS)),
    (b"\x1f\x8b", Format("gzip", _ARCHIVE_WORDS)),
    (b"7z\xbc\xaf", Format("7z", _ARCHIVE_WORDS)),
    (b"Rar!", Format("rar", _ARCHIVE_WORDS)),
    (b"BZh", Format("bzip2", _ARCHIVE_WORDS)),
    (b"\xfd7zXZ", Format("xz", _ARCHIVE_WORDS)),
    (b"\x28\xb5\x2f\xfd", Format("zstd", _ARCHIVE_WORDS)),
    (b"\x89HDF", Format("hdf5", "Keras and HDF5 files can carry code in Lambda layers; export to ONNX")),
    (b"\x93NUMPY", Format("npy", "NumPy files can hold pickled objects; export to safetensors")),
)
_TEXT_PICKLE: Final = re.compile(
    rb"(?:\(dp?\d*\n|\(lp?\d*\n|\(i|c)(?:__builtin__|builtins|os|posix|nt|sys|subprocess|[a-z_][\w.]*)\n"
)


def recognise(head: bytes, size: int) -> Format:
    """The format of a file of `size` bytes that begins with `head` (up to HEAD_BYTES of it)."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return Format("tar", _ARCHIVE_WORDS)
    if _is_pickle(head):
        return Format("pickle", _PICKLE_WORDS)
    if _is_safetensors(head, size):
        return Format("safetensors")
    if _may_be_onnx(head):
        return Format("onnx")
    return Format("unknown", "it is neither ONNX nor safetensors, the two formats that hold no code")


def _is_pickle(head: bytes) -> bool:
    binary = len(head) > 1 and head[0] == 0x80 and 1 <= head[1] <= 5
    return (
        binary or _TEXT_PICKLE.match(head) is not None or head.startswith((b"(lp", b"(dp", b"]q\0", b"}q\0"))
    )


def _is_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and 2 <= length <= max(size, _MAX_HEADER) and head[8:9] == b"{"


def _may_be_onnx(head: bytes) -> bool:
    """A ModelProto starts with one of its low-numbered fields; the parser decides the rest."""
    if not head:
        return False
    field, wire = head[0] >> 3, head[0] & 7
    expected = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2}
    return expected.get(field) == wire


def strict_json(data: bytes) -> object:
    """JSON without duplicate keys, NaN or Infinity. Raises ValueError (RecursionError if too deep)."""

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        document = dict(items)
        if len(document) != len(items):
            raise ValueError("a key occurs twice")
        return document

    def constant(word: str) -> object:
        raise ValueError(f"{word} is not JSON")

    parsed: object = json.loads(data, object_pairs_hook=pairs, parse_constant=constant)
    return parsed
