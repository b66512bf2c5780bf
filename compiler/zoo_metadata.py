"""What a weight file says of its network: architecture, preprocessing, options, licence."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from compiler.preprocessing import Preprocessing
from compiler.weights import stem
from targets.errors import UsageError, ZooError

Option = str | int | float | bool
Options = tuple[tuple[str, Option], ...]

_TIMM_KEY, _OTHER_KEY = "timm", "architecture"
_CONFIG = TypeAdapter(dict[str, object])
_OPTIONS = TypeAdapter(dict[str, Option])
_TOP1 = TypeAdapter(float)

# Conversions from TensorFlow and Keras whose files do not say how they pad: without these they
# load strictly and lose several points of accuracy without a word.
_KNOWN_OPTIONS: Mapping[str, Options] = {
    "mobilenetv1_100.tf_in1k": (("pad_type", "same"),),
    "mobilenetv2_100.keras_in1k": (("pad_type", "same"), ("bn_eps", 1e-3)),
}


@dataclass(frozen=True, slots=True)
class Description:
    """Everything about a network but its weights; what a file leaves out is None or empty.

    `options` are keyword arguments of whoever makes the architecture; `known_top1` is in percent.
    """

    architecture: str
    preprocessing: Preprocessing | None = None
    options: Options = ()
    licence: str = "unknown"
    source: str = ""
    known_top1: float | None = None

    def to_metadata(self) -> dict[str, str]:
        """As the text a .safetensors file carries; `describe` is the inverse."""
        optional = {
            "cfg": json.dumps(self.preprocessing.to_config()) if self.preprocessing else "",
            "options": json.dumps(dict(self.options)) if self.options else "",
            "licence": self.licence,
            "source": self.source,
            "known_top1": "" if self.known_top1 is None else str(self.known_top1),
        }
        filled = {key: text for key, text in optional.items() if text}
        # Other tools look for timm's architectures under this key.
        key = _OTHER_KEY if ":" in self.architecture else _TIMM_KEY
        return {"format": "pt", key: self.architecture, **filled}


def describe(path: Path, metadata: Mapping[str, str]) -> Description:
    """Read a file's metadata; the architecture may also be its name up to the first dot.

    Raises:
        ZooError: metadata that cannot be read, naming the key.
    """
    key = ""
    try:
        key = "cfg"
        config = _CONFIG.validate_json(metadata.get(key, "{}"))
        preprocessing = Preprocessing.from_config(config) if config else None
        key = "options"
        options = tuple(_OPTIONS.validate_json(metadata.get(key, "{}")).items())
        key = "known_top1"
        top1 = _TOP1.validate_python(metadata[key]) if key in metadata else None
    except (ValidationError, UsageError) as error:
        reason = str(error).splitlines()[-1 if isinstance(error, UsageError) else 0]
        raise ZooError(
            f"The metadata '{key}' of '{path}' cannot be used: {metadata.get(key)}. {reason} "
            "Correct it where the file is written."
        ) from error
    return Description(
        architecture=metadata.get(_TIMM_KEY)
        or metadata.get(_OTHER_KEY)
        or stem(path).partition(".")[0],
        preprocessing=preprocessing,
        options=options or _KNOWN_OPTIONS.get(stem(path), ()),
        licence=metadata.get("licence") or metadata.get("license") or "unknown",
        source=metadata.get("source") or str(path),
        known_top1=top1,
    )
