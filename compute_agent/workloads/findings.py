"""What the lint says of a model file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

_FINDINGS_CAP = 50
_WORDS_CAP = 300

Severity = Literal["error", "warning", "info"]


def shown(text: str, *, length: int = 80) -> str:
    """Text from a model or a library as it may be printed: one line, printable, short."""
    kept = "".join(c if c.isprintable() else "?" for c in text)
    return kept if len(kept) <= length else kept[:length] + "…"


@dataclass(slots=True, kw_only=True)
class Report:
    """Filled by the linters, written as `lint.json`. `ok` means: no finding of severity error."""

    format: str
    size: int
    findings: list[dict[str, str]] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    draws: bool = False
    """Whether the model draws random numbers, so that two runs of it differ."""
    _errors: int = 0

    @property
    def ok(self) -> bool:
        """Whether the market takes this file."""
        return self._errors == 0

    def add(self, severity: Severity, code: str, words: str) -> None:
        """One finding; past fifty they are only counted."""
        self._errors += severity == "error"
        if len(self.findings) < _FINDINGS_CAP:
            self.findings.append({"severity": severity, "code": code, "words": words[:_WORDS_CAP]})

    def first_error(self) -> str:
        """The words of the first error, or nothing."""
        return next((item["words"] for item in self.findings if item["severity"] == "error"), "")

    def document(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {
            "ok": self.ok,
            "format": self.format,
            "size": self.size,
            "findings": self.findings,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "features": self.features,
            "classes": self.classes,
        }
