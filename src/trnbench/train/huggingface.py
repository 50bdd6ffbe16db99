"""Classes of transformers, built from a config: nothing is downloaded, weights are drawn.

What a config says that the class does not do is refused where a person wrote it under
`model.config`, and noted where it stands in a config.json.
"""

import difflib
import inspect
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from trnbench.protocol.model import ExternalModel
from trnbench.train.count import EXPERTS, EXPERTS_PER_TOKEN
from trnbench.train.external import BadModel, blaming, import_or_refuse

DROPOUT = "drop"
"""Part of the name of each dropout rate in a config."""

DECIDED_BY_US = ("dtype", "torch_dtype", "quantization_config", "use_cache", "return_dict")
"""Keys that a file may have and that decide nothing here: the workload says the precision, and the
class is called by us."""

WITHOUT_EFFECT = (
    "_attn_implementation_autoset", "_commit_hash", "_name_or_path", "architectures",
    "attn_implementation", "auto_map", "experts_implementation", "model_type", "pretraining_tp",
    "task_specific_params", "tie_word_embeddings", "transformers_version", "use_bfloat16",
    *DECIDED_BY_US,
)  # fmt: skip
"""Keys of config.json files that are no sizes of the class, or that it no longer reads."""

EXTRA_LAYERS = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers")
"""Layers that predict further tokens in training, which no class of transformers has.

Source: the config.json of DeepSeek V3, GLM-4.5 and Qwen3.5."""

TAKEN_EXPERTS = tuple(key for key in EXPERTS_PER_TOKEN if key != "top_k")
"""`top_k` may be of generation."""

FLOAT_MARK = "__float__"
"""The key of a mapping that stands for an infinite number. Source: transformers 5.23,
`configuration_utils.py`, `_encode_special_floats`."""

CORE_SIZES = ("hidden_size", "num_hidden_layers")
"""A file with neither of them has sizes in words that the class does not know."""


def build_class(external: ExternalModel) -> nn.Module:
    """Build a class of transformers in fp32 on torch's default device.

    Raises:
        BadModel: there is no such class, or it refuses its config, or does not know its words.
    """
    kind, config_class = _find_class(external)
    values = _values_of(external, kind, config_class)
    with blaming(external, "its config", "correct `model.config`, or the config.json"):
        try:
            config = config_class(**values)
        except KeyError as error:
            raise _of_unknown_name(external, values, error) from error
        # With dropout no two devices agree: it is off, unless the user's config sets it.
        for name, value in config.to_dict().items():
            if DROPOUT in name and isinstance(value, float) and name not in external.checked_keys:
                setattr(config, name, 0.0)
        _check_defaults(external, config)
        try:
            module: nn.Module = kind(config)
        except KeyError as error:
            raise _of_unknown_name(external, values, error) from error
    if not any(DROPOUT in key for key in external.checked_keys):
        for each in module.modules():
            if isinstance(each, nn.Dropout):
                each.p = 0.0
    return module


def _check_defaults(external: ExternalModel, config: Any) -> None:
    """Refuse a value of a config that does not fit one of its class's defaults."""
    mark, vocabulary = (getattr(config, key, None) for key in ("pad_token_id", "vocab_size"))
    if isinstance(mark, int) and isinstance(vocabulary, int) and mark >= vocabulary:
        raise BadModel(
            f"{external.target}: pad_token_id={mark} is no token of vocab_size={vocabulary}",
            hint="give `pad_token_id: 0`, or another token that there is, under `model.config`",
        )
    given = json.loads(external.arguments)
    sizes = [
        [
            (key, getattr(config, key, None))
            for key in sorted(keys, key=lambda key: key not in given)
        ]
        for keys in (TAKEN_EXPERTS, EXPERTS)
    ]
    for (taken, wanted), (there, count) in itertools.product(*sizes):
        if isinstance(wanted, int) and isinstance(count, int) and 0 < count < wanted:
            raise BadModel(
                f"{external.target}: {taken}={wanted} is more than {there}={count}",
                hint="a token is sent to some of the experts: give both under `model.config`",
            )


def notes_of(external: ExternalModel) -> list[str]:
    """Return what the config asks for and the class does not do, a sentence each."""
    kind, config_class = _find_class(external)
    given: dict[str, Any] = json.loads(external.arguments)
    notes = []
    quantization = given.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method") if isinstance(quantization, Mapping) else None
        notes.append(
            f"quantization_config ({method or 'of no method'}) is not applied: weights are trained "
            "in workload.precision"
        )
    extra = [key for key in EXTRA_LAYERS if isinstance(given.get(key), int) and given[key] > 0]
    notes += [
        f"{key}={given[key]}: {external.target} has no such layers, so they are neither counted "
        "nor trained"
        for key in extra
    ]
    unknown = [key for key in _unknown_keys(given, kind, config_class) if key not in extra]
    if unknown:
        notes.append(
            f"without effect, because {config_class.__name__} does not know it: "
            f"{', '.join(unknown)}"
        )
    return notes


def _find_class(external: ExternalModel) -> tuple[Any, Any]:
    install = "install it for that interpreter: `pip install transformers`"
    transformers = import_or_refuse("transformers", install)
    kind = getattr(transformers, external.target, None)
    config_class = getattr(kind, "config_class", None)
    if kind is not None and config_class is not None:
        return kind, config_class
    known = [name for name in dir(transformers) if name.endswith(("CausalLM", "MaskedLM"))]
    hint = _nearest(external.target, known) or "name one as LlamaForCausalLM"
    if json.loads(external.arguments).get("auto_map"):
        hint = (
            "its code comes with its weights (auto_map) and is not run; take a class of "
            "transformers that does the same, or wrap the code by `model.python`"
        )
    raise BadModel(
        f"transformers {transformers.__version__} has no model class {external.target}", hint=hint
    )


def _values_of(external: ExternalModel, kind: Any, config_class: Any) -> dict[str, Any]:
    """Return what the config's class is given, after its words were looked at."""
    given: dict[str, Any] = json.loads(external.arguments)
    _check_type(external, given, config_class)
    unknown = _unknown_keys(given, kind, config_class)
    for key in external.checked_keys:
        if key in unknown and key not in external.file_keys:
            known = {*_known_keys(config_class), "rope_theta", "rope_scaling"}
            raise BadModel(
                f"{config_class.__name__} has no key {key!r}",
                hint=_nearest(key, known) or "leave it out",
            )
    names = {
        name: getattr(config_class, "attribute_map", {}).get(name, name) for name in CORE_SIZES
    }
    missing = [own for name, own in names.items() if not {name, own} & given.keys()]
    foreign = [key for key in unknown if _is_size(given[key])]
    if missing and foreign:
        raise BadModel(
            f"{external.target}: its config has no {' and no '.join(missing)}, and "
            f"{config_class.__name__} does not know {', '.join(foreign)}",
            hint="write its sizes in the words of transformers, as in the config.json of that "
            "class; without them it would be the class's default model",
        )
    values = {key: _with_floats(value) for key, value in given.items() if key not in DECIDED_BY_US}
    return {**values, "use_cache": False, "return_dict": True}


def _with_floats(value: Any) -> Any:
    """Return a value with the numbers that JSON has no word for, as transformers 5 writes them."""
    if isinstance(value, Mapping):
        if value.keys() == {FLOAT_MARK}:
            return float(value[FLOAT_MARK])
        return {key: _with_floats(each) for key, each in value.items()}
    return [_with_floats(each) for each in value] if isinstance(value, list) else value


def _check_type(external: ExternalModel, given: dict[str, Any], config_class: Any) -> None:
    """Refuse a config of another family; a `model_type` of null is none."""
    own = config_class.model_type
    found = given.get("model_type") or own
    given["model_type"] = own
    if found == own:
        return
    hint = f"there is no class of {found} here: `config: {{model_type: {own}}}` takes it for one"
    if "text_config" in given:
        hint = (
            "its text model stands under `text_config`: save that as a file of its own, with "
            f"`architectures: [{external.target}]`"
        )
    elif (other := _class_of_type(found, external.target)) is not None:
        hint = f"name the class of that family: `architectures: [{other}]` under `model.config`"
    raise BadModel(
        f"{external.target} is of model_type {own}, and its config of {found}", hint=hint
    )


def _class_of_type(model_type: str, target: str) -> str | None:
    """Return the class of a `model_type` that has the same task, if transformers has one."""
    place = "transformers.models.auto.modeling_auto"
    names = import_or_refuse(place, "install transformers whole")
    kind = "MASKED_LM" if target.endswith("MaskedLM") else "CAUSAL_LM"
    mapping: Mapping[str, Any] = getattr(names, f"MODEL_FOR_{kind}_MAPPING_NAMES", {})
    found = mapping.get(model_type)
    return found if isinstance(found, str) else None


def _known_keys(config_class: Any) -> set[str]:
    """Return the keys that a config's class has attributes for."""
    fields = getattr(config_class, "__dataclass_fields__", None) or config_class().to_dict()
    return {*fields, *getattr(config_class, "attribute_map", {}), *WITHOUT_EFFECT}


def _unknown_keys(given: Mapping[str, Any], kind: Any, config_class: Any) -> list[str]:
    """Return the keys with a value that the class only stores: nothing else changes with them.

    A model's code may read a key that its config has no attribute for: `head_dim` of many.
    """
    plain = config_class().to_dict()
    known = {*_known_keys(config_class), *plain}
    code = inspect.getsource(inspect.getmodule(kind) or kind)
    found = []
    for key, value in sorted(given.items()):
        name = re.escape(key)
        is_read = re.search(rf"config\.{name}\b|config, [\"']{name}[\"']", code) is not None
        if key in known or value is None or is_read:
            continue
        try:
            made = config_class(**{key: value}).to_dict()
        except Exception:  # noqa: BLE001 - the class reads it: building says what is wrong
            continue
        changed = {name for name in made if name not in plain or made[name] != plain[name]}
        if changed == {key}:
            found.append(key)
    return found


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _of_unknown_name(
    external: ExternalModel, values: Mapping[str, Any], error: KeyError
) -> BadModel:
    """Say which key has the name that transformers looked for in vain."""
    name = error.args[0] if error.args else None
    place = _place_in(values, name)
    if place is None:
        return BadModel(
            f"{external.target}: its config has no {name!r}, which the class looks for",
            hint="correct `model.config`, or the config.json",
        )
    return BadModel(
        f"{external.target}: {place}: transformers knows no {name!r}",
        hint="use a name that its documentation has for this key",
    )


def _place_in(values: Mapping[str, Any], wanted: Any) -> str | None:
    """Return the dotted key at which a value stands."""
    for key, value in values.items():
        if value == wanted and isinstance(value, str):
            return key
        if isinstance(value, Mapping) and (inner := _place_in(value, wanted)) is not None:
            return f"{key}.{inner}"
    return None


def _nearest(name: str, known: Iterable[str]) -> str | None:
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=2, cutoff=0.6)
    if name.lower() in by_lower:
        near = [name.lower()]
    return f"did you mean {' or '.join(by_lower[each] for each in near)}?" if near else None
