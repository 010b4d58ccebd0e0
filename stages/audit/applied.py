"""What a recipe of the audit means for training."""

from pydantic import BaseModel

from stages.core import params
from stages.core.errors import UserError
from stages.core.params import Recipe
from stages.train import TrainParams


class RecipeParams(BaseModel):
    """The part of params.yaml that training a recipe reads."""

    learning_rates: params.Rates
    seeds: tuple[params.Seed, ...]
    network: params.Network
    normalization: params.Normalization
    training: params.Training
    early_validation: params.EarlyValidation
    compute: params.Compute
    diagnose: params.Diagnose
    aggregate: params.Aggregate
    audit: params.Audit

    def core(self) -> TrainParams:
        """Take the recipe of the core study."""
        return TrainParams.model_validate(
            {name: getattr(self, name) for name in TrainParams.model_fields}
        )

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
                "normalization": params.Normalization(
                    mean=fixed.mean if published else None,
                    deviation=fixed.deviation if published else None,
                ),
            }
        )


def recipe_named(name: str, declared: RecipeParams) -> Recipe:
    """Find a recipe, the grid's rates filled in.

    Raises:
        UserError: There is none of this name.
    """
    if name not in declared.audit.recipes:
        known = ", ".join(declared.audit.recipes)
        raise UserError(f"params.yaml: audit.recipes has no {name}: give one of {known}")
    recipe = declared.audit.recipes[name]
    return recipe.model_copy(update={"rates": recipe.rates or declared.learning_rates})
