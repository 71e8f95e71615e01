"""What runs inside the sandbox. Only these modules import torch, onnx and onnxruntime."""
