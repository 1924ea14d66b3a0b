"""The one door to face detection."""
