"""What is done to the pictures that a model learns from."""
