"""Statistical checks of a build: shortcuts, label noise, fairness of the gates, drift."""
