"""Trained networks as one file that takes raw columns: ONNX, or a PyTorch program."""
