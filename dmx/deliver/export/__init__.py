"""Export a run's network: ONNX and torch.export, checked against the run's own predictions in a process of its own."""
