"""What a model's scores are worth."""
