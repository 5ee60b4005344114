"""Parts of a PLM left out: its last layers, single layers, single attention heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recbole_ext.errors import ConfigurationError, EncoderError

_OUTPUT_PROJECTIONS = ("attention.output.dense", "attn.Wo", "attn.c_proj", "self_attn.o_proj")
"""Where a layer puts its heads together: BERT-likes and Longformer, ModernBERT, GPT-2, Llama-likes."""


def keep_layers(transformer: Any, layers: int) -> None:
    """Cut a Hugging Face transformer to its first ``layers`` layers, whatever its architecture calls them.

    Raises:
        ConfigurationError: it has not so many.
        EncoderError: it has no list of layers.
    """
    depth = len(_layers(transformer)[2])
    if not 1 <= layers <= depth:
        raise ConfigurationError(f"layers: {layers} is out of range; the encoder has 1 to {depth}.")
    _keep(transformer, list(range(layers)))


def drop_parts(transformer: Any, parts: Sequence[str]) -> None:
    """Leave out ``"L"``, a whole layer, or ``"L.H"``, one head of it; both are counted from 1, in the whole encoder.

    A layer is taken out of the list. A head stays but is not heard: its columns of the projection that puts the heads
    together become zero, which is exact, and the same for every architecture.

    Raises:
        ConfigurationError: no such layer or head, or no layer would be left.
        EncoderError: it has no list of layers, or hides where its heads come together.
    """
    layers = _layers(transformer)[2]
    n_heads = transformer.config.num_attention_heads
    dropped: set[int] = set()
    for part in map(str, parts):
        layer, _, head = part.partition(".")
        if not _within(layer, len(layers)) or (head and not _within(head, n_heads)):
            raise ConfigurationError(
                f"drop: {part!r} is no layer L or head L.H; the encoder has {len(layers)} layers of {n_heads} heads, "
                "both counted from 1."
            )
        if head:
            _silence(layers[int(layer) - 1], int(head) - 1, n_heads)
        else:
            dropped.add(int(layer) - 1)
    if len(dropped) == len(layers):
        raise ConfigurationError("drop: no layer would be left.")
    if dropped:
        _keep(transformer, [number for number in range(len(layers)) if number not in dropped])


def _within(number: str, count: int) -> bool:
    return number.isdecimal() and 1 <= int(number) <= count


def _layers(transformer: Any) -> tuple[Any, str, Any]:
    """The module that holds the list of layers, the list's name in it, and the list."""
    import torch

    depth = getattr(transformer.config, "num_hidden_layers", None)
    for parent in transformer.modules():
        for name, child in parent.named_children():
            if isinstance(child, torch.nn.ModuleList) and len(child) == depth:
                return parent, name, child
    raise EncoderError(f"layers: {type(transformer).__name__} has no list of {depth} layers to cut.")


def _keep(transformer: Any, numbers: list[int]) -> None:
    import torch

    parent, name, layers = _layers(transformer)
    setattr(parent, name, torch.nn.ModuleList([layers[number] for number in numbers]))
    config, depth = transformer.config, len(layers)
    for key in ("layer_types", "attention_window"):  # what some architectures say of every layer
        of_layers = getattr(config, key, None)
        if isinstance(of_layers, list) and len(of_layers) == depth:
            setattr(config, key, [of_layers[number] for number in numbers])
    config.num_hidden_layers = len(numbers)
    config.use_cache = False  # a decoder's layers know their place in a cache by their old number; encoding needs none


def _silence(layer: Any, head: int, n_heads: int) -> None:
    import torch

    for path in _OUTPUT_PROJECTIONS:
        try:
            projection = layer.get_submodule(path)
        except AttributeError:
            continue
        # GPT-2 keeps its weights as [in, out], everyone else as [out, in].
        weight = projection.weight.T if type(projection).__name__ == "Conv1D" else projection.weight
        width = weight.shape[1] // n_heads
        with torch.no_grad():
            weight[:, head * width : (head + 1) * width] = 0
        return
    raise EncoderError(f"drop: {type(layer).__name__} hides where its heads come together; drop whole layers instead.")
