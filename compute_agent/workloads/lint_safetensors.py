"""Checks a safetensors file: header size, names, types, and that the tensors cover the file exactly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np

from openstall.compute_agent.workloads.findings import Report, shown
from openstall.compute_agent.workloads.formats import strict_json

_HEADER_CAP: Final = 8 * 1024 * 1024
_TENSOR_CAP: Final = 50_000
_DIMENSION_CAP: Final = 16
_NAME_CAP: Final = 512
_METADATA_CAP: Final = 64 * 1024
_BITS: Final = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F4": 4,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "C64": 64,
}
_FLOATS: Final = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
_CHUNK: Final = 1 << 22


def lint_safetensors(path: Path, report: Report) -> None:
    """Add findings to `report`. Never loads a tensor through a library."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _HEADER_CAP or length + 8 > report.size:
            report.add("error", "bad_header", f"The header claims {length} bytes; the cap is {_HEADER_CAP}.")
            return
        try:
            header = strict_json(file.read(length))
        except (ValueError, RecursionError) as error:
            report.add("error", "bad_header", f"The header is not valid JSON: {shown(str(error))}.")
            return
    if not isinstance(header, dict):
        report.add("error", "bad_header", "The header is not a JSON object.")
        return
    _metadata(header.pop("__metadata__", {}), report)
    if not header:
        report.add("error", "no_tensors", "The file holds no tensors.")
    if len(header) > _TENSOR_CAP:
        report.add("error", "too_many_tensors", f"{len(header)} tensors; {_TENSOR_CAP} are allowed.")
        return
    spans = [span for name, entry in header.items() if (span := _tensor(str(name), entry, report))]
    if report.ok:
        _cover(spans, report.size - 8 - length, report)
    if report.ok:
        _finite(path, 8 + length, spans, report)


def _metadata(metadata: Any, report: Report) -> None:
    plain = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    if not plain or sum(len(k) + len(v) for k, v in metadata.items()) > _METADATA_CAP:
        report.add("error", "bad_metadata", "The metadata is not a short map of text to text.")


def _tensor(name: str, entry: Any, report: Report) -> tuple[int, int, str, str] | None:
    fault = _name_fault(name) or _entry_fault(entry)
    if fault is not None:
        code, words = fault
        report.add("error", code, f"Tensor {shown(name)!r}: {words}.")
        return None
    start, end = entry["data_offsets"]
    return start, end, entry["dtype"], name


def _name_fault(name: str) -> tuple[str, str] | None:
    if not name or len(name) > _NAME_CAP or not name.isprintable() or not name.isascii():
        return "bad_name", "the name is not plain text"
    if "/" in name or "\\" in name or ".." in name:
        return "bad_name", "the name looks like a path"
    return None


def _entry_fault(entry: Any) -> tuple[str, str] | None:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        return "bad_tensor", "the entry is malformed"
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (_naturals(shape, _DIMENSION_CAP) and _naturals(offsets, 2) and len(offsets) == 2):
        return "bad_tensor", "shape or offsets are malformed"
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        return "bad_dtype", f"unknown type {shown(str(dtype))!r}"
    if math.prod(shape) * bits != (offsets[1] - offsets[0]) * 8:
        return "bad_size", "it does not fit its place in the file"
    return None


def _naturals(value: Any, length_cap: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= length_cap
        and all(type(item) is int and 0 <= item < 2**48 for item in value)
    )


def _cover(spans: list[tuple[int, int, str, str]], data_size: int, report: Report) -> None:
    at = 0
    for start, end, _dtype, name in sorted(spans):
        if start != at:
            report.add("error", "bad_layout", f"There is a gap or an overlap before tensor {shown(name)!r}.")
            return
        at = end
    if at != data_size:
        report.add("error", "bad_layout", f"The tensors end at byte {at}, the file's data at {data_size}.")


def _finite(path: Path, base: int, spans: list[tuple[int, int, str, str]], report: Report) -> None:
    for start, end, dtype, name in spans:
        if dtype not in _FLOATS or start == end:
            continue
        kind = _FLOATS[dtype]
        count = (end - start) // np.dtype(kind).itemsize
        data = np.memmap(path, dtype=kind, mode="r", offset=base + start, shape=(count,))
        if not all(np.isfinite(data[at : at + _CHUNK]).all() for at in range(0, count, _CHUNK)):
            report.add("warning", "not_finite", f"Tensor {shown(name)!r} holds NaN or infinity.")
