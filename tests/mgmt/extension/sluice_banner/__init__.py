"""Sample extension of the management plane."""
