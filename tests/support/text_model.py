"""A small model of text, trained by the example of the guide on the guides themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path

from openstall.compute_agent.runtime import find_runtime

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "text_model.py"


def train_text_model(folder: Path, steps: int = 300) -> Path:
    """Train for some seconds; the path of the model."""
    runtime = find_runtime()
    text = b"\n".join(path.read_bytes() for path in sorted((ROOT / "docs").glob("*.md")))
    (folder / "text.txt").write_bytes(text)
    code = f"import sys, runpy; sys.path.append({str(runtime.site_packages)!r}); sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [str(runtime.python), "-I", "-S", "-c", code, str(EXAMPLE), str(folder), str(steps)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return folder / "model.onnx"
