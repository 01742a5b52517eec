"""Which findings a cell is about: by the beginning of a peer's name, and a column."""

KNOWN = {
    ("flax", "empty"): "flax-empty-sequence",
    ("keras", "no bias"): "keras-gru-without-bias",
    ("keras", "float64"): "keras-float64",
    ("mlx", "float64"): "mlx-float64-sigmoid",
    ("onnx-reference", "lengths"): "onnx-reference-sequence-lens",
    ("onnx-reference", "relu"): "onnx-reference-attributes",
    ("onnxruntime", "near zero"): "onnxruntime-rnn-tanh",
    ("openvino", "empty"): "openvino-empty-sequence",
    ("openvino", "lengths"): "openvino-sequence-lens",
    ("openvino", "plain"): "openvino-bfloat16",
    ("openvino", "products"): "openvino-bfloat16",
    ("paddle", "no bias"): "paddle-without-bias",
    ("tinygrad", "near zero"): "tinygrad-tanh",
    ("tract", "both"): "tract-reverse",
    ("tract", "lengths"): "tract-sequence-lens",
    ("tract", "saturated"): "tract-sigmoid",
    ("tract", "no state"): "tract-lstm-without-initial-state",
    ("tract", "relu"): "tract-attributes",
    ("tract", "reverse"): "tract-reverse",
}


def findings(name: str, column: str) -> tuple[str, ...]:
    """Return the names of findings about a layer's cell.

    Args:
        name: of the peer, without its kind.
        column: of the cell.
    """
    return tuple(
        finding
        for (beginning, of), finding in KNOWN.items()
        if name.startswith(beginning) and of == column
    )
