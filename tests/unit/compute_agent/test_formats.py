from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from openstall.compute_agent.workloads.findings import Report
from openstall.compute_agent.workloads.formats import recognise
from openstall.compute_agent.workloads.lint import lint_file


def safetensors_bytes(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def lint(tmp_path: Path, data: bytes, name: str = "model.onnx") -> Report:
    (tmp_path / name).write_bytes(data)
    return lint_file(tmp_path / name)


EMPTY = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
GOOD = {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_is_refused_whatever_its_name(tmp_path: Path, protocol: int) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("ran",))

    report = lint(tmp_path, pickle.dumps(Payload(), protocol=protocol))
    assert not report.ok
    assert report.format == "pickle"
    assert "pickle" in report.first_error()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x7fELF\x02\x01\x01", "elf"),
        (b"MZ\x90\x00", "pe"),
        (b"\xcf\xfa\xed\xfe\x07", "mach-o"),
        (b"#!/bin/sh\nrm -rf ~\n", "script"),
        (b"GGUF\x03\x00\x00\x00", "gguf"),
        (b"\x89HDF\r\n\x1a\n", "hdf5"),
        (b"\x93NUMPY\x01\x00", "npy"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\0asm\x01", "wasm"),
        (b"x" * 257 + b"ustar\0", "tar"),
        (b"import os\n", "unknown"),
        (b"", "unknown"),
    ],
)
def test_other_formats_are_refused_with_a_reason(tmp_path: Path, data: bytes, name: str) -> None:
    report = lint(tmp_path, data)
    assert report.format == name
    assert not report.ok
    assert report.first_error().startswith("Refused: ")


def test_zip_of_a_torch_model_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.onnx", "w") as archive:
        archive.writestr("data.pkl", pickle.dumps({}))
    assert lint_file(tmp_path / "model.onnx").format == "zip"


def test_good_safetensors(tmp_path: Path) -> None:
    report = lint(tmp_path, safetensors_bytes({"__metadata__": {"k": "v"}, **GOOD}, bytes(16)))
    assert report.ok
    assert report.format == "safetensors"
    assert report.document()["findings"] == []


@pytest.mark.parametrize(
    ("header", "data", "code"),
    [
        (GOOD, bytes(17), "bad_layout"),
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}, bytes(16), "bad_layout"),
        ({**GOOD, "v": {"dtype": "U8", "shape": [8], "data_offsets": [8, 16]}}, bytes(16), "bad_layout"),
        ({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 16]}}, bytes(16), "bad_size"),
        ({"w": {"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]}}, bytes(16), "bad_tensor"),
        ({"w": {"dtype": "F32", "shape": [True, 4], "data_offsets": [0, 16]}}, bytes(16), "bad_tensor"),
        ({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], "x": 1}}, bytes(16), "bad_tensor"),
        ({"w": {"dtype": "OBJ", "shape": [2], "data_offsets": [0, 16]}}, bytes(16), "bad_dtype"),
        ({"../../etc/x": GOOD["w"]}, bytes(16), "bad_name"),
        ({"a\u202eb": GOOD["w"]}, bytes(16), "bad_name"),
        ({"__metadata__": {"k": 1}, **GOOD}, bytes(16), "bad_metadata"),
        ({}, b"", "no_tensors"),
        (b'{"w": 1, "w": 2}', b"", "bad_header"),
        (b'{"w": NaN}', b"", "bad_header"),
        (b"{" * 9, b"", "bad_header"),
        (b'{"a":' * 50_000, b"", "bad_header"),
        (
            {f"t{n}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for n in range(50_001)},
            b"",
            "too_many_tensors",
        ),
    ],
)
def test_hostile_safetensors(tmp_path: Path, header: Any, data: bytes, code: str) -> None:
    report = lint(tmp_path, safetensors_bytes(header, data))
    assert report.format == "safetensors"
    assert code in {finding["code"] for finding in report.findings if finding["severity"] == "error"}


def test_false_header_length(tmp_path: Path) -> None:
    assert not lint(tmp_path, (10**7).to_bytes(8, "little") + b"{}").ok
    assert not lint(tmp_path, (2**62).to_bytes(8, "little") + b"{}").ok


def test_weights_that_are_not_numbers_are_a_warning(tmp_path: Path) -> None:
    report = lint(tmp_path, safetensors_bytes(GOOD, b"\x00\x00\xc0\x7f" * 4))
    assert report.ok
    assert report.findings[0]["code"] == "not_finite"


def test_findings_are_bounded() -> None:
    report = Report(format="onnx", size=1)
    for _ in range(1000):
        report.add("error", "x", "y" * 10_000)
    assert len(json.dumps(report.document())) < 64 * 1024
    assert not report.ok


def test_onnx_starts_like_a_protobuf_message() -> None:
    assert recognise(b"\x08\x08\x12\x09openstall", 100).name == "onnx"
