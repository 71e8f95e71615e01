"""Parameters of the jobs that look at a finished job again: a part of a training, and a comparison.

Only the owner of a node starts these; an order cannot name them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

MOST_BLOCKS: Final = 64
MOST_ROWS: Final = 2**40
Of = Literal["infer", "train", "evaluate", "weights"]
COMPARED: Final[dict[Of, tuple[str, ...]]] = {
    "infer": ("csv", "json"),
    "train": ("onnx", "json"),
    "evaluate": ("json",),
    "weights": ("safetensors",),
}
"""The files of a result by their endings, as they lie in the input folder: `one.csv` and `other.csv`."""
SHARED: Final[dict[Of, tuple[str, ...]]] = {"infer": ("model.onnx",), "train": ("data.csv",)}
"""Inputs of the job itself that a comparison needs: how the model computes, and what its report is about."""
CHECKPOINT: Final = "checkpoint.safetensors"
"""The input that a resumed training goes on from."""


class ReplayParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Do a training again up to the end of epoch `until`; writes `weights.safetensors`.

    `recipe` is the complete parameters of the train job; with `resume` it goes on from the checkpoint
    among the inputs.
    """

    recipe: dict[str, Any]
    until: Annotated[int, msgspec.Meta(ge=1, le=10_000)]

    def input_names(self) -> frozenset[str]:
        """The files that must lie in the input folder."""
        return frozenset({"data.csv", CHECKPOINT} if self.recipe.get("resume") is True else {"data.csv"})


Block = tuple[
    Annotated[int, msgspec.Meta(ge=0, le=MOST_ROWS)], Annotated[int, msgspec.Meta(ge=1, le=MOST_ROWS)]
]


class CompareParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Compare a result with another of the same job.

    With `blocks` (first row from 0, number of rows) the other holds only these rows of predictions; then
    the reports, which are of all rows, are not compared.
    """

    of: Of
    recipe: dict[str, Any] = {}
    """Of a training: by it the rows are found on which its report was made."""
    blocks: Annotated[tuple[Block, ...], msgspec.Meta(max_length=MOST_BLOCKS)] = ()

    def input_names(self) -> frozenset[str]:
        """The files that must lie in the input folder."""
        endings = [ending for ending in COMPARED[self.of] if not (self.blocks and ending == "json")]
        shared = SHARED.get(self.of, ())
        return frozenset({f"{side}.{ending}" for side in ("one", "other") for ending in endings} | {*shared})


RecheckKind = Literal["compare", "replay"]
RecheckParams = CompareParams | ReplayParams
RECHECKS: Final[dict[str, type[RecheckParams]]] = {"compare": CompareParams, "replay": ReplayParams}
