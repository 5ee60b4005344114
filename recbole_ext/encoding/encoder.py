"""How an encoder is loaded: weights, modules, pooling, precision, padding."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recbole_ext.encoders.bases import check_base
from recbole_ext.encoders.positions import readable_tokens
from recbole_ext.encoders.pruning import drop_parts, keep_layers
from recbole_ext.encoders.quiet import quiet_bars
from recbole_ext.encoders.source import ResolvedEncoder
from recbole_ext.encoding.settings import EncodingSettings
from recbole_ext.errors import ConfigurationError, EncoderError

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

POOLINGS = {"cls": "cls", "mean": "mean", "last": "lasttoken"}
"""Our word for a pooling and that of sentence-transformers."""
PROBES = ("a", "a text that is longer than the other one and stands beside it, to see whether it makes a difference")
DIFFERENCE = {"float32": 1e-3, "float16": 0.02, "bfloat16": 0.1}
"""Of a vector alone and beside another text, as a part of its length: what rounding may do."""


def load_encoder(
    source: ResolvedEncoder, settings: EncodingSettings | None = None, device: str | None = None
) -> SentenceTransformer:
    """Load an encoder for inference.

    Its vectors depend on the text alone. An encoder whose vectors change with the padding on the side that its
    tokenizer asks for (GPT-2's positions count the padding on the left) is padded on the other.

    Args:
        source: from :func:`resolve_encoder`.
        settings: see :class:`EncodingSettings`; by default the encoder as it is published.
        device: a torch device; None picks an accelerator if there is one.

    Raises:
        EncoderError: the encoder or its adapter can't be loaded, its pooling can't be replaced, or its vectors depend
            on what stands beside a text on either side.
        ConfigurationError: a prompt name, tokens, layers or heads, or a width that it does not have.
    """
    settings = settings or EncodingSettings()
    model = _loaded(source, settings, device)
    _read_plain_text(model, source)
    if source.adapter is not None:
        _merge_adapter(model, source)
    model = _with_modules(model, settings, source, device)
    if settings.drop:
        drop_parts(_transformer(model, source, "drop"), [str(part) for part in settings.drop])
    if settings.layers is not None:
        keep_layers(_transformer(model, source, "layers"), settings.layers)
    # Models without prompts of their own have empty ones by the usual names.
    own = model.prompts if any(model.prompts.values()) else {}
    if settings.prompt_name is not None and settings.prompt_name not in own:
        known = ", ".join(name for name, text in model.prompts.items() if text) or "no prompt of its own"
        raise ConfigurationError(
            f"prompt_name: encoder {source.name!r} has no prompt {settings.prompt_name!r}; it has {known}. `prompt` "
            "takes a text."
        )
    tokenizer = model.tokenizer
    _refuse_empty_tokenizer(tokenizer, source)
    if getattr(tokenizer, "pad_token", "") is None:
        # Decoders ship without one. Padded positions are masked, so any token serves.
        tokenizer.pad_token = tokenizer.eos_token
    _set_max_tokens(model, settings, source)
    width = model.get_embedding_dimension()
    if settings.dim is not None and width is not None and settings.dim > width:
        raise ConfigurationError(f"dim: {settings.dim} is more than the width of encoder {source.name!r}, {width}.")
    _pad_where_it_makes_no_difference(model, settings, source)
    return model


def describe_modules(model: SentenceTransformer) -> tuple[list[str], str | None]:
    """Names of the encoder's modules in order, and its effective pooling in our words (None: it has none)."""
    words = {theirs: ours for ours, theirs in POOLINGS.items()}
    modes = [module.pooling_mode for module in model if type(module).__name__ == "Pooling"]
    pooling = words.get(str(modes[0]), str(modes[0])) if modes else None
    return [type(module).__name__ for module in model], pooling


def encoding_options(model: SentenceTransformer, settings: EncodingSettings) -> dict[str, Any]:
    """Arguments of ``model.encode`` that decide the vectors: prompt and width."""
    options: dict[str, Any] = {"prompt": settings.prompt, "prompt_name": settings.prompt_name}
    if settings.dim is not None:
        # What is published at unit length is at unit length again when it is cut.
        ends_normalized = type(list(model)[-1]).__name__ == "Normalize"
        options |= {"truncate_dim": settings.dim, "normalize_embeddings": ends_normalized}
    return {key: value for key, value in options.items() if value is not None}


def _loaded(source: ResolvedEncoder, settings: EncodingSettings, device: str | None) -> SentenceTransformer:
    import torch
    from sentence_transformers import SentenceTransformer

    of_file = {"gguf_file": source.gguf_file} if source.gguf_file else {}
    try:
        with quiet_bars():
            return SentenceTransformer(
                source.location,
                device=device,
                trust_remote_code=settings.trust_remote_code,
                model_kwargs={"dtype": getattr(torch, settings.precision), **of_file},
                config_kwargs=of_file,
                processor_kwargs=of_file,
                **source.where,
            )
    # Foreign files fail in as many ways as there are architectures; for the user all mean the same.
    except Exception as error:
        reason = _first_line(error)
        if source.gguf_file and isinstance(error, ImportError):
            raise EncoderError(
                f"encoder {source.name!r}: {source.gguf_file} is read by the package gguf: pip install gguf. ({reason})"
            ) from error
        if "trust_remote_code" in str(error):
            raise source.untrusted() from error
        raise EncoderError(
            f"encoder {source.name!r} can't be loaded from {source.location}: {reason}. Check that the "
            "folder or repository holds a whole text model with its tokenizer."
        ) from error


def _read_plain_text(model: SentenceTransformer, source: ResolvedEncoder) -> None:
    """Let a model that was not published as a sentence encoder read a text itself. sentence-transformers takes it for
    one that reads conversations where its tokenizer has a chat template, and puts each text into one."""
    from sentence_transformers.util import is_sentence_transformer_model

    modalities = getattr(model[0], "modality_config", {})
    if {"text", "message"} <= modalities.keys() and not is_sentence_transformer_model(source.location, **source.where):
        del modalities["message"]
        model[0].input_formatter.supported_modalities = list(modalities)


def _refuse_empty_tokenizer(tokenizer: Any, source: ResolvedEncoder) -> None:
    """transformers makes a tokenizer that knows no word where the files of one are missing."""
    special = getattr(tokenizer, "all_special_tokens", None)
    if special is not None and set(tokenizer.get_vocab()) <= set(special):
        raise EncoderError(
            f"encoder {source.name!r}: {source.location} has no tokenizer, without which no text can be read. Put the "
            "files of its tokenizer there (tokenizer.json, tokenizer_config.json), as tokenizer.save_pretrained writes "
            "them."
        )


def _with_modules(
    model: SentenceTransformer, settings: EncodingSettings, source: ResolvedEncoder, device: str | None
) -> SentenceTransformer:
    """``model`` with another pooling, or with the average of several layers before it."""
    if settings.pooling is None and not settings.average_layers:
        return model
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    from recbole_ext.encoding.averaging import AverageLayers

    transformer = model[0]
    if not isinstance(transformer, Transformer):
        key = "pooling" if settings.pooling else "average_layers"
        raise EncoderError(
            f"encoder {source.name!r} begins with {type(transformer).__name__}, not with a transformer, so "
            f"there is nothing to pool; leave {key} out."
        )
    modules: list[Any] = [transformer, *list(model)[1:]]
    if settings.pooling is not None:
        modules[1:] = [Pooling(transformer.get_embedding_dimension(), POOLINGS[settings.pooling])]
    if settings.average_layers:
        config = transformer.auto_model.config
        depth = settings.layers or int(config.num_hidden_layers) - sum("." not in str(part) for part in settings.drop)
        modules.insert(1, AverageLayers(settings.average_layers, depth))
        config.output_hidden_states = True
    return SentenceTransformer(
        modules=modules, device=device, prompts=model.prompts, default_prompt_name=model.default_prompt_name
    )


def _transformer(model: SentenceTransformer, source: ResolvedEncoder, key: str) -> Any:
    if not hasattr(model[0], "auto_model"):
        raise EncoderError(
            f"encoder {source.name!r} begins with {type(model[0]).__name__}, not with a transformer; leave {key} out."
        )
    return model[0].auto_model


def _set_max_tokens(model: SentenceTransformer, settings: EncodingSettings, source: ResolvedEncoder) -> None:
    """Cut texts where ``max_tokens`` says, or where the encoder's positions end, whatever its tokenizer says."""
    limits = [model.max_seq_length, readable_tokens(model[0].auto_model) if hasattr(model[0], "auto_model") else None]
    limit = min((value for value in limits if value is not None), default=None)
    if settings.max_tokens is not None:
        marks = _marks(model.tokenizer)
        if settings.max_tokens <= marks or (limit is not None and settings.max_tokens > limit):
            of_them = f", of which {marks} are its own marks around a text" if marks else ""
            most = f"to {limit}" if limit is not None else "or more"
            raise ConfigurationError(
                f"max_tokens: {settings.max_tokens} is out of range; encoder {source.name!r} reads {marks + 1} {most} "
                f"tokens{of_them}."
            )
        limit = settings.max_tokens
    if limit is not None and limit != model.max_seq_length:
        model.max_seq_length = limit


def _marks(tokenizer: Any) -> int:
    """How many tokens the tokenizer puts around every text, such as BERT's [CLS] and [SEP]."""
    counted = getattr(tokenizer, "num_special_tokens_to_add", None)
    return int(counted(False)) if counted else 0  # False: of one text, not of a pair


def _pad_where_it_makes_no_difference(
    model: SentenceTransformer, settings: EncodingSettings, source: ResolvedEncoder
) -> None:
    if not hasattr(model.tokenizer, "padding_side"):
        return
    own = model.tokenizer.padding_side
    for side in (own, "right" if own == "left" else "left"):
        model.tokenizer.padding_side = side
        if _difference_of_neighbours(model, settings) <= DIFFERENCE[settings.precision]:
            if side != own:
                log.info("%s: padded on the %s, for its vectors depend on padding on the %s", source.name, side, own)
            return
    raise EncoderError(
        f"encoder {source.name!r}: the vector of a text changes with the text beside it, wherever the shorter one is "
        "padded. Such an encoder has no vector of a text."
    )


def _difference_of_neighbours(model: SentenceTransformer, settings: EncodingSettings) -> float:
    """How much a short text's vector changes beside a long one, as a part of its length."""
    options = {**encoding_options(model, settings), "convert_to_tensor": True, "show_progress_bar": False}
    alone: torch.Tensor = model.encode([PROBES[0]], **options).float()
    beside = model.encode(list(PROBES), **options).float()[:1]
    if not (alone.isfinite().all() and beside.isfinite().all()):
        return 0.0  # what overflows is named with its text, where texts are encoded
    return float((alone - beside).norm() / alone.norm().clamp_min(1e-12))


def _merge_adapter(model: SentenceTransformer, source: ResolvedEncoder) -> None:
    """Add a LoRA adapter's weights to those of the transformer.

    Raises:
        EncoderError: ``peft`` is not installed, or the adapter is of another base.
    """
    adapter = source.adapter
    assert adapter is not None
    transformer = _transformer(model, source, "adapter")
    try:
        from peft.tuners.tuners_utils import BaseTunerLayer
    except ImportError as error:
        raise EncoderError("adapter: LoRA adapters are read by the package peft: pip install peft.") from error
    check_base(adapter, source)
    try:
        revision = {"revision": adapter.revision} if adapter.revision else None
        with quiet_bars():
            report = transformer.load_adapter(adapter.location, adapter_kwargs=revision)
    # Wrong sizes, wrong names and damaged files have as many types.
    except Exception as error:
        raise EncoderError(
            f"adapter {adapter.name!r} does not fit encoder {source.name!r} ({_first_line(error)}): it is one of "
            "another base, or damaged."
        ) from error
    if left_over := [*report.missing_keys, *report.unexpected_keys, *report.mismatched_keys]:
        raise EncoderError(
            f"adapter {adapter.name!r} is one of another base than encoder {source.name!r}: {left_over[0]} has no "
            "counterpart."
        )
    for module in transformer.modules():
        if isinstance(module, BaseTunerLayer):
            module.merge()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
