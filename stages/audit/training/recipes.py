"""What a recipe of the audit means for training."""

from pydantic import BaseModel

from stages.audit.training.parameters import Audit, Recipe
from stages.common.errors import UserError
from stages.common.parameters import Rates, Share
from stages.training.parameters import Device, Network, Normalization, Training, TrainParams


class RecipeParams(BaseModel):
    """The part of params.yaml that training a recipe reads."""

    network: Network
    normalization: Normalization
    training: Training
    device: Device
    audit: Audit

    @property
    def seeds(self) -> tuple[int, ...]:
        """One network for each."""
        return self.audit.seeds

    def core(self) -> TrainParams:
        """Take the recipe of the core study, with the audit's seeds."""
        return TrainParams(
            seeds=self.seeds,
            network=self.network,
            normalization=self.normalization,
            training=self.training,
            device=self.device,
        )

    def recipe(self, name: str) -> Recipe:
        """Find a recipe.

        Raises:
            UserError: There is none of this name.
        """
        if name not in self.audit.recipes:
            known = ", ".join(self.audit.recipes)
            raise UserError(f"params.yaml: audit.recipes has no {name}: give one of {known}")
        return self.audit.recipes[name]

    def applied(self, recipe: Recipe, dataset: str) -> TrainParams:
        """Change the core study's recipe into another."""
        core = self.core()
        fixed = self.audit.published_normalization.get(dataset)  # type: ignore[call-overload]
        published = recipe.normalization == "published" and fixed is not None
        schedule = core.training.schedule.model_copy(update={"name": recipe.schedule})
        training = {"clip_norm": recipe.clip_norm, "schedule": schedule}
        return core.model_copy(
            update={
                "training": core.training.model_copy(update=training),
                "normalization": Normalization(
                    mean=fixed.mean if published else None,
                    deviation=fixed.deviation if published else None,
                ),
            }
        )


class RungParams(RecipeParams):
    """The part of params.yaml that training a recipe at all its rates reads."""

    learning_rates: Rates

    def rates(self, recipe: Recipe) -> Rates:
        """List the learning rates of a recipe: its own, or the grid's."""
        return recipe.rates or self.learning_rates


class TrainedFrom(BaseModel):
    """The one key of the section `outcome` that the search for a boundary reads."""

    trained_accuracy: Share


class BoundaryParams(RecipeParams):
    """The part of params.yaml that the search for a boundary reads."""

    outcome: TrainedFrom
