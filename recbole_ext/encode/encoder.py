"""How an encoder is loaded: modules, pooling, precision."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from recbole_ext.encode.pruning import drop_parts, keep_layers
from recbole_ext.encode.source import EncoderSource
from recbole_ext.errors import ConfigurationError, EncoderError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

#: Our word for a pooling and that of sentence-transformers.
POOLINGS = {"cls": "cls", "mean": "mean", "last": "lasttoken"}
PRECISIONS = ("float32", "float16", "bfloat16")


def load_encoder(
    source: EncoderSource,
    pooling: str | None = None,
    precision: str = "float32",
    device: str | None = None,
    max_tokens: int | None = None,
    layers: int | None = None,
    drop: Sequence[str] = (),
) -> SentenceTransformer:
    """Load an encoder for inference.

    Args:
        source: from :func:`resolve_encoder`.
        pooling: None takes the encoder as it is published, with all its modules (MiniLM: mean, then unit
            length); a plain transformer then gets sentence-transformers' own default (mean; the last token
            for causal language models). ``cls``, ``mean`` or ``last`` pools the transformer's last hidden
            states and does nothing after that.
        precision: ``float32``, ``float16`` or ``bfloat16``: dtype of weights and vectors.
        device: a torch device; None picks an accelerator if there is one.
        max_tokens: cuts texts shorter than the encoder itself would.
        layers: keeps the first so many of the transformer's layers.
        drop: leaves out single layers and heads; see :func:`recbole_ext.encode.pruning.drop_parts`.

    Raises:
        EncoderError: the encoder can't be loaded, or its pooling can't be replaced.
        ConfigurationError: an unknown pooling or precision, more tokens than the encoder can read, or layers and heads
            that it does not have.
    """
    check_choice("pooling", pooling, [None, *POOLINGS])
    check_choice("precision", precision, PRECISIONS)
    import torch
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(
            source.location,
            device=device,
            revision=source.revision,
            local_files_only=source.offline or source.revision is None,
            model_kwargs={"dtype": getattr(torch, precision)},
        )
    # Foreign files fail in as many ways as there are architectures; for the user all mean the same.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EncoderError(
            f"encoder {source.name!r} can't be loaded from {source.location}: {reason}. Check that the "
            "folder or repository holds a whole text model with its tokenizer, and that it needs no code of "
            "its own."
        ) from error
    if pooling is not None:
        model = _with_pooling(model, pooling, source, device)
    if drop:
        drop_parts(model[0].auto_model, drop)
    if layers is not None:
        keep_layers(model[0].auto_model, layers)
    tokenizer = model.tokenizer
    if getattr(tokenizer, "pad_token", "") is None:
        # Decoders ship without one. Padded positions are masked, so any token serves.
        tokenizer.pad_token = tokenizer.eos_token
    if max_tokens is not None:
        limit = model.max_seq_length
        if max_tokens < 1 or (limit is not None and max_tokens > limit):
            raise ConfigurationError(
                f"max_tokens: {max_tokens} is out of range; encoder {source.name!r} reads 1 to {limit} tokens."
            )
        model.max_seq_length = max_tokens
    return model


def describe_modules(model: SentenceTransformer) -> tuple[list[str], str | None]:
    """Names of the encoder's modules in order, and its effective pooling in our words (None: it has none)."""
    words = {theirs: ours for ours, theirs in POOLINGS.items()}
    modes = [module.pooling_mode for module in model if type(module).__name__ == "Pooling"]
    pooling = words.get(str(modes[0]), str(modes[0])) if modes else None
    return [type(module).__name__ for module in model], pooling


def check_choice(key: str, value: Any, choices: Collection[Any]) -> None:
    """Raise ConfigurationError unless ``value`` is one of ``choices``."""
    if value not in choices:
        offered = ", ".join(str(choice) for choice in choices if choice is not None)
        raise ConfigurationError(f"{key}: {value!r} is unknown; choose one of {offered}.")


def _with_pooling(
    model: SentenceTransformer, pooling: str, source: EncoderSource, device: str | None
) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = model[0]
    if not isinstance(transformer, Transformer):
        raise EncoderError(
            f"encoder {source.name!r} begins with {type(transformer).__name__}, not with a transformer, so "
            f"there is nothing to pool with {pooling!r}; leave the pooling out."
        )
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), POOLINGS[pooling])]
    return SentenceTransformer(
        modules=modules, device=device, prompts=model.prompts, default_prompt_name=model.default_prompt_name
    )
