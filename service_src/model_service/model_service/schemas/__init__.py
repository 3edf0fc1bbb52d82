"""What comes in and goes out of the API, in OpenAI's form."""

from model_service.schemas.models import ModelCard, ModelList

__all__ = ["ModelCard", "ModelList"]
