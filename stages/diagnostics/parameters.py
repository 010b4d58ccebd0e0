"""What params.yaml says about measuring a run."""

from typing import Annotated

from pydantic import BaseModel, Field

from stages.common.datasets import DatasetName
from stages.common.errors import UserError
from stages.common.parameters import Count, Positive, Section, Share
from stages.training.parameters import Device, Normalization

MOST_PRODUCTS = 100
"""Most products of the Hessian with a vector in one search, which keeps as many such vectors."""


class Diagnose(Section):
    """What is measured of the weights that training kept."""

    examples: Count
    every_epochs: Count
    tolerance: Annotated[
        Positive, Field(lt=1, description="a number above 0 and below 1, such as 0.01")
    ]


class Outcome(Section):
    """Thresholds that decide how fast a network learned and how it ended.

    The rule is that of `stages.diagnostics.outcomes.outcomes`.
    """

    threshold_accuracy: Annotated[
        dict[DatasetName, Share],
        Field(description="an accuracy, 0 to 1, for each known dataset"),
    ]
    trained_accuracy: Share
    burst_gradient_norm: Annotated[Positive, Field(description="a gradient norm above 0")]

    def threshold_of(self, dataset: str) -> float:
        """Look up the accuracy that counts as learned.

        Raises:
            UserError: There is none for this dataset.
        """
        found: float | None = self.threshold_accuracy.get(dataset)  # type: ignore[call-overload]
        if found is None:
            raise UserError(
                f"params.yaml: outcome.threshold_accuracy.{dataset} is missing: "
                f"give an accuracy from 0 up to, not including, 1"
            )
        return found


class DiagnoseParams(BaseModel):
    """The part of params.yaml that measuring a run reads."""

    normalization: Normalization
    device: Device
    diagnose: Diagnose
    outcome: Outcome
