"""The synthetic demo dataset and its invented people."""
