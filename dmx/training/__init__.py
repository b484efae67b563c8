"""Training: one readable loop around one readable step."""
