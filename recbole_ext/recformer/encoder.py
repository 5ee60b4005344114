"""A Hugging Face encoder that reads sequences of items: RECFORMER's embedding layer in front of any PLM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recbole_ext.capacity import activation_bytes, at_once
from recbole_ext.dropout import draw_cheaply
from recbole_ext.encoders.positions import readable_tokens
from recbole_ext.encoders.quiet import quiet_bars
from recbole_ext.encoders.source import KEY_VALUE_READING, read_description
from recbole_ext.errors import EncoderError
from recbole_ext.moving import moved
from recbole_ext.recformer.by_length import Parts, parts_by_length
from recbole_ext.recformer.item_tokens import N_TOKEN_TYPES, Batch, ItemTokens
from recbole_ext.recformer.window_attention import use_fast_attention

if TYPE_CHECKING:
    import numpy as np

    from recbole_ext.encoders.source import ResolvedEncoder

POOLINGS = ("cls", "mean")
WINDOW = 64
"""Tokens that a token sees around it in RECFORMER's Longformer, half of them on either side."""
ITEM_POSITIONS = "item_position_embeddings"
PASS_TOKENS, PASS_TOKENS_OF_AN_ACCELERATOR = 512, 16384
ENCODED_TOKENS, MOST_ENCODED_TOKENS = 8192, 2**17
SHARE_OF_ENCODING = 1 / 16
"""Of an accelerator's memory: what one layer keeps of the tokens of a forward pass without gradient."""


class BehaviourEncoder(nn.Module):
    """Word, position, token-type and item-position embeddings into a PLM, pooled to one vector per sequence.

    The PLM is registered under its own Hugging Face prefix and the added embeddings inside its embedding module, so
    that for a Longformer the parameters have the names of the public RECFORMER checkpoints
    (``longformer.embeddings.item_position_embeddings.weight``, …). Added embeddings start at zero and added token
    types as copies of type 0: before tuning, the encoder reads a text as it always did.

    Args:
        base: a Hugging Face encoder (BERT-like, RoBERTa, ModernBERT, Longformer, …).
        max_items: items of a sequence; position 0 is ``<s>``.
        pooling: ``cls`` (RECFORMER's: the output at ``<s>``) or ``mean`` over all tokens.
    """

    def __init__(self, base: Any, max_items: int = 50, pooling: str = "cls") -> None:
        super().__init__()
        self.prefix, self.pooling, self.max_items = base.base_model_prefix, pooling, max_items
        self.add_module(self.prefix, base)
        embeddings = self._embeddings
        width = base.get_input_embeddings().weight.shape[1]
        if not hasattr(embeddings, ITEM_POSITIONS):
            embeddings.add_module(ITEM_POSITIONS, _zeros(max_items + 1, width))
        types = getattr(embeddings, "token_type_embeddings", None)
        self.base_adds_types = types is not None
        if types is None:
            embeddings.add_module("token_type_embeddings", _zeros(N_TOKEN_TYPES, width))
        elif types.num_embeddings < N_TOKEN_TYPES:
            embeddings.token_type_embeddings = _widened(types)
        base.config.type_vocab_size = N_TOKEN_TYPES
        if base.config.model_type == "longformer":
            use_fast_attention(base)
        draw_cheaply(base)

    @property
    def base(self) -> Any:
        """The PLM."""
        return getattr(self, self.prefix)

    @property
    def width(self) -> int:
        """Dimensions of a pooled vector."""
        return int(self.base.config.hidden_size)

    @property
    def longest(self) -> int:
        """Tokens that the PLM can read."""
        return readable_tokens(self.base) or 1 << 30

    @property
    def words(self) -> nn.Embedding:
        return self.base.get_input_embeddings()

    @property
    def added_embeddings(self) -> list[nn.Parameter]:
        """The tables of item positions and token types."""
        return [getattr(self._embeddings, name).weight for name in (ITEM_POSITIONS, "token_type_embeddings")]

    @property
    def _embeddings(self) -> Any:
        """The PLM's module that owns its word embeddings."""
        words = self.words
        return next(module for module in self.base.modules() if any(child is words for child in module.children()))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Last hidden states, ``[sequences, longest, width]``, of a batch from :meth:`ItemTokens.batch`."""
        return self.outputs(batch).last_hidden_state

    def outputs(self, batch: Batch, **wanted: bool) -> Any:
        """What the PLM returns for a batch; ``wanted`` are its own flags (``output_attentions``, …)."""
        embeddings = self._embeddings
        inputs = self.words(batch["input_ids"]) + getattr(embeddings, ITEM_POSITIONS)(batch["item_position_ids"])
        arguments: dict[str, Any] = {"attention_mask": batch["attention_mask"]}
        if self.base_adds_types:
            arguments["token_type_ids"] = batch["token_type_ids"]
        else:
            inputs = inputs + embeddings.token_type_embeddings(batch["token_type_ids"])
        if self.base.config.model_type == "longformer":
            arguments["global_attention_mask"] = (batch["word"] < 0).long() * batch["attention_mask"]
        return self.base(inputs_embeds=inputs, **arguments, **wanted)

    def pool(self, batch: Batch) -> torch.Tensor:
        """One vector per sequence, ``[sequences, width]``, on the encoder's device, of a batch on the host."""
        device = self.words.weight.device
        parts = parts_by_length(batch, self.tokens_per_pass)
        return self.pool_parts([(moved(rows, device), moved(part, device)) for rows, part in parts])

    def pool_parts(self, parts: Parts) -> torch.Tensor:
        """One vector per sequence of a batch in parts, all on the encoder's device."""
        vectors = [self._pooled(self(part), part["attention_mask"]) for _, part in parts]
        return torch.cat(vectors)[torch.cat([rows for rows, _ in parts]).argsort()]

    @property
    def tokens_per_pass(self) -> int:
        """Tokens that are worth a forward pass of their own on the encoder's device; see :func:`parts_by_length`."""
        return PASS_TOKENS if self.words.weight.device.type == "cpu" else PASS_TOKENS_OF_AN_ACCELERATOR

    def _pooled(self, hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        if self.pooling == "cls":
            return hidden[:, 0]
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)

    def encode_sequences(
        self, tokens: ItemTokens, sequences: list[np.ndarray], batch_tokens: int | None = None
    ) -> torch.Tensor:
        """Pooled vectors of many sequences without gradient, ``[sequences, width]``, on the encoder's device.

        Sequences of similar length go together, ``batch_tokens`` tokens in a forward pass; by default as many as the
        device reads well.
        """
        import numpy as np

        was_training, device = self.base.training, self.words.weight.device
        if batch_tokens is None:
            batch_tokens = at_once(device, ENCODED_TOKENS, SHARE_OF_ENCODING, activation_bytes(self.width, 1))
            batch_tokens = min(batch_tokens, MOST_ENCODED_TOKENS)
        self.eval()
        lengths = tokens.lengths(sequences)
        order = np.argsort(-lengths, kind="stable")
        vectors = torch.empty(len(sequences), self.width, device=device)
        begin = 0
        with torch.no_grad():
            while begin < len(order):
                rows = order[begin : begin + max(1, batch_tokens // int(lengths[order[begin]]))]
                batch = tokens.batch([sequences[row] for row in rows])
                vectors[moved(torch.from_numpy(rows), device)] = self.pool(batch).float()
                begin += len(rows)
        self.train(was_training)
        return vectors

    def encode_items(self, tokens: ItemTokens, batch_tokens: int | None = None) -> torch.Tensor:
        """The item matrix: every item as a sequence of its own, ``[n_items + 1, width]``; row 0 (padding) is zero."""
        import numpy as np

        vectors = self.encode_sequences(tokens, [np.array([row]) for row in range(1, tokens.n_items + 1)], batch_tokens)
        return torch.cat([vectors.new_zeros(1, self.width), vectors])

    def save(self, folder: Path, tokenizer: Any, reading: dict[str, Any]) -> None:
        """Write a folder that ``from_pretrained`` and :func:`load_behaviour_encoder` load.

        Args:
            reading: how items are read (attributes, attribute_tokens, max_tokens), kept in ``config.json``.
        """
        setattr(self.base.config, KEY_VALUE_READING, {**reading, "pooling": self.pooling, "max_items": self.max_items})
        with quiet_bars():
            self.base.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    def restore_added_embeddings(self, folder: Path) -> None:
        """Read what this class added to the PLM, and ``from_pretrained`` leaves aside, from a saved folder.

        Raises:
            EncoderError: its ``.safetensors`` don't hold both tables.
        """
        from safetensors import safe_open

        parameters = dict(self._embeddings.named_parameters())
        missing = {f"{ITEM_POSITIONS}.weight", "token_type_embeddings.weight"}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118 (not a mapping)
                    name = ".".join(key.split(".")[-2:])
                    if name in missing:
                        missing.remove(name)
                        with torch.no_grad():
                            parameters[name].copy_(file.get_tensor(key))
        if missing:
            raise EncoderError(
                f"{folder}: {min(missing)} stands in none of its .safetensors, and without it an encoder tuned by "
                "RECFORMER's objectives reads something else. Take the folder that `tune` wrote, whole."
            )

    def load_checkpoint(self, path: Path) -> None:
        """Load a RECFORMER state dict, such as the public ``seqrec_pretrain_ckpt.bin``, by its own names.

        Raises:
            EncoderError: missing, unreadable, or of another architecture (the message names the keys).
        """
        state = _read_state(path)
        own = self.state_dict()
        renamed = {name if name in own else f"{self.prefix}.{name}": value for name, value in state.items()}
        wrong = [name for name, value in renamed.items() if name in own and own[name].shape != value.shape]
        missing = [name for name in own if name not in renamed and ".pooler." not in name]
        if wrong or missing:
            shapes = [f"{n} {tuple(renamed[n].shape)}, here {tuple(own[n].shape)}" for n in wrong[:3]]
            raise EncoderError(
                f"{path}: the checkpoint of another architecture. "
                + "; ".join(filter(None, [_listed("Missing", missing), _listed("Other shape", shapes)]))
                + f". It has to fit the encoder ({type(self.base).__name__}, width {self.width}) and max_items."
            )
        self.load_state_dict({name: value for name, value in renamed.items() if name in own}, strict=False)


def load_behaviour_encoder(
    source: ResolvedEncoder,
    max_items: int | None = None,
    pooling: str | None = None,
    trust_remote_code: bool = False,
    attention_window: int | None = None,
) -> tuple[BehaviourEncoder, Any, dict[str, Any]]:
    """The encoder of ``source``, its tokenizer, and how it reads items (empty for one that was not tuned here).

    Args:
        pooling: ``None`` takes what the folder says: of a tuned encoder its own, of a sentence-transformers model that
            averages ``mean``, else RECFORMER's ``cls``.
        trust_remote_code: run the Python code that comes with the encoder.
        attention_window: of a Longformer: tokens that a token sees around it. ``None`` takes a tuned encoder's own; of
            another one RECFORMER's 64, or its own where that is narrower, for it has learnt no wider one.

    Raises:
        EncoderError: it can't be loaded, or has no window that could be set.
    """
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    try:
        where = {**source.where, "trust_remote_code": trust_remote_code}
        config = AutoConfig.from_pretrained(source.location, **where)
        tokenizer = AutoTokenizer.from_pretrained(source.location, **where)
        reading = dict(getattr(config, KEY_VALUE_READING, None) or {})
        _set_window(config, source, bool(reading), attention_window)
        options = {"add_pooling_layer": False} if config.model_type in ("bert", "roberta", "longformer") else {}
        with quiet_bars():
            base, loaded = AutoModel.from_pretrained(
                source.location, config=config, output_loading_info=True, **options, **where
            )
    except EncoderError:
        raise
    except Exception as error:  # foreign files fail in as many ways as there are architectures
        if "trust_remote_code" in str(error):
            raise source.untrusted() from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EncoderError(
            f"encoder {source.name!r} can't be loaded from {source.location}: {reason}. Give a folder or a Hugging "
            "Face name that AutoModel and AutoTokenizer load."
        ) from error
    if loaded["missing_keys"]:
        raise EncoderError(
            f"encoder {source.name!r}: {source.location} holds the weights of another architecture than its "
            f"config.json ({config.model_type}). {_listed('Missing', sorted(loaded['missing_keys']))}."
        )
    items = reading.get("max_items", max_items or 50)
    if max_items not in (None, items):
        raise EncoderError(
            f"encoder {source.name!r} was tuned on sequences of {items} items: set max_items to {items}."
        )
    encoder = BehaviourEncoder(base, items, pooling or reading.get("pooling") or _published_pooling(source))
    if reading:
        described = source.file("config.json")
        assert described is not None  # the reading stands in it
        encoder.restore_added_embeddings(described.parent)
    return encoder, tokenizer, reading


def _set_window(config: Any, source: ResolvedEncoder, is_tuned: bool, wanted: int | None) -> None:
    """Let ``config`` say the window before the PLM is built; it is saved with it."""
    if config.model_type != "longformer":
        if wanted is not None:
            raise EncoderError(
                f"attention_window: encoder {source.name!r} is a {config.model_type}, and only a Longformer's tokens "
                "see a window; leave it out."
            )
        return
    if wanted is None and is_tuned:
        return
    own = config.attention_window
    of_layers = own if isinstance(own, list) else [own] * config.num_hidden_layers
    config.attention_window = [wanted or min(of_layer, WINDOW) for of_layer in of_layers]


def _published_pooling(source: ResolvedEncoder) -> str:
    path = source.file("1_Pooling/config.json")
    if path is None:
        return "cls"
    settings = read_description(path)
    is_mean = settings.get("pooling_mode_mean_tokens") or settings.get("pooling_mode") == "mean"
    return "mean" if is_mean else "cls"


def _zeros(rows: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(rows, width)
    nn.init.zeros_(embedding.weight)
    return embedding


def _widened(types: nn.Embedding) -> nn.Embedding:
    wider = nn.Embedding(N_TOKEN_TYPES, types.embedding_dim)
    with torch.no_grad():
        wider.weight.copy_(types.weight[:1].expand(N_TOKEN_TYPES, -1))
    return wider.to(types.weight)


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise EncoderError(
            f"{path}: not a state dict of tensors ({type(error).__name__}). Save one with torch.save or safetensors."
        ) from error


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what}: {', '.join(names[:3])}{more}" if names else ""
