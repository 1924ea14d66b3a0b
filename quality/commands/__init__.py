"""The commands of ``quality``, one module each; ``semblance.quality.cli`` registers them."""
