"""How fast a network predicts on this machine: PyTorch, compiled, ONNX Runtime and int8 side by side."""
