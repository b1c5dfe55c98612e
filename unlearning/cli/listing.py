"""Commands that say what there is: the names of each registry with all their settings, and the records' schemas.

Nothing is written here of a method, a noise or a field: summary and role are those of the registry's entry, type,
default and meaning those of the settings class.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unlearning.cli.group import json_option, main, print_json, say
from unlearning.cli.looks import WIDTH, Formatter, first_paragraph, load_registry, option, together
from unlearning.errors import InputError
from unlearning.registry import Entry, Role

if TYPE_CHECKING:
    from unlearning.settings import Fields

_LISTS = {
    "methods": "unlearning.methods:METHODS",
    "detectors": "unlearning.detection:DETECTORS",
    "noises": "unlearning.noise:NOISES",
    "sources": "unlearning.data:SOURCES",
    "models": "unlearning.architectures:ARCHITECTURES",
    "objectives": "unlearning.training.objectives:OBJECTIVES",
}
_BOUNDARIES = "boundaries"
_HOW = {
    "methods": "--set {name}.FIELD=VALUE (run), --set FIELD=VALUE (repair, unlearn)",
    "detectors": "--set {name}.FIELD=VALUE (run, repair, unlearn), --set FIELD=VALUE (detect)",
    "noises": "--noise-option FIELD=VALUE",
    "sources": "the options of run",
    "objectives": "--objective-option FIELD=VALUE",
}


@main.command(
    name="list",
    examples=(
        "list methods",
        "list methods second-order",
        "list detectors patches --json",
        "list boundaries model.keras",
    ),
)
@click.argument("kind", metavar="KIND", type=click.Choice([*_LISTS, _BOUNDARIES]))
@click.argument("name", required=False)
@together(json_option, heading="Output")
def list_names(kind: str, name: str | None, as_json: bool) -> None:
    """Say what methods, detectors, noises and the like there are, and their settings.

    KIND is methods, detectors, noises, sources, models or objectives. With NAME, every field is listed with its type,
    default and meaning. `list boundaries MODEL.keras` measures what it costs to move a model from a layer on.
    """
    if kind == _BOUNDARIES:
        _list_boundaries(name, as_json)
        return
    registry = load_registry(_LISTS[kind])
    entries = registry.entries() if name is None else _stages(kind, name, registry)
    if as_json:
        print_json([{**_describe(entry), **_describe_fields(kind, entry)} for entry in entries])
    elif name is None:
        say(_format_names(entries))
    else:
        say("\n\n".join(_format_entry(kind, entry) for entry in entries))


@main.command(examples=("schema unlearning_results", "schema --out schemas"))
@click.argument("name", required=False)
@together(
    option(
        "--out", type=click.Path(path_type=Path), metavar="DIR", help="Write NAME.schema.json (or all of them) there."
    ),
    heading="Output",
)
def schema(name: str | None, out: Path | None) -> None:
    """Print the JSON Schema of the record NAME, such as unlearning_results.

    Without NAME, those of all records.
    """
    from unlearning.records.schema import kinds, schema_of, write_schemas

    if out is not None:
        for path in write_schemas(out, name):
            say(path)
        return
    content = schema_of(name) if name else {known: schema_of(known) for known in kinds()}
    say(json.dumps(content, indent=1))


def _list_boundaries(path: str | None, as_json: bool) -> None:
    """What `trainable_from` can be for a model, with what it costs on this machine."""
    if path is None:
        raise InputError("name", "the file of a model, such as `list boundaries model.keras`", "nothing")
    from unlearning.interop import check_model_path, load_model
    from unlearning.startup import import_tensorflow

    check_model_path(Path(path))
    import_tensorflow()
    from unlearning.training.boundaries import measure_boundaries

    found = [dataclasses.asdict(each) for each in measure_boundaries(load_model(Path(path)))]
    if as_json:
        print_json(found)
        return
    say(f"{'trainable_from':16}{'layer':20}{'moves':>12}{'':>6}{'once':>9}{'a pass':>9}{'memory':>9}")
    for row in found:
        share = f"{100 * row['parameters'] / row['of']:.0f} %"
        say(
            f"{row['name'][:15]:16}{row['layer'][:19]:20}{row['parameters']:>12,}{share:>6}"
            f"{row['features_s']:>7.2f} s{row['epoch_s']:>7.2f} s{row['memory_mb']:>6.1f} MB"
        )
    say(
        "\nmoves: trainable parameters from the layer on. Processor seconds and memory of 1,000 rows on this\n"
        "machine: once: the activations below; a pass: training on them. --trainable-from takes the first column."
    )


def describe_fields(cls: type[Fields], preset: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Returns what there is to know of the fields of a settings class, as JSON-ready values.

    Args:
        cls: The class.
        preset: Defaults that are not the class's own.

    Returns:
        For each field `name`, `type` in words, `default`, and `meaning`; a field without `default` must be given.
    """
    described = []
    content = cls.model_json_schema()
    for name, field in content.get("properties", {}).items():
        found = {"name": name, "type": _type(field, content.get("$defs", {}))}
        if "default" in field or name in (preset or {}):
            found["default"] = (preset or {}).get(name, field.get("default"))
        described.append({**found, "meaning": " ".join(field.get("description", "").split())})
    return described


def _stages(kind: str, name: str, registry: Any) -> list[Entry]:
    """The entry of a name; a chain of methods has several."""
    return [registry.entry(stage) for stage in (name.split("+") if kind == "methods" else [name])]


def _describe(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "summary": entry.summary,
        "role": entry.role.value,
        "family": entry.family,
        "needs": sorted(entry.needs),
    }


def _describe_fields(kind: str, entry: Entry) -> dict[str, Any]:
    """What only the thing itself knows: its description and its fields; a network is a function and has none."""
    if kind == "models":
        return {}
    thing = entry.load()
    if kind == "sources":
        from unlearning.data.settings import DataSettings

        fields = [field for field in describe_fields(DataSettings) if field["name"] != "dataset"]
        return {"form": thing.form, "description": inspect.getdoc(thing) or "", "fields": fields}
    return {"description": inspect.getdoc(thing) or "", "fields": describe_fields(thing, entry.preset)}


def _type(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """The type of a field in words, from its JSON Schema."""
    if "$ref" in field:
        return _type(known[field["$ref"].rpartition("/")[2]], known)
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(one, known) for one in field["anyOf"]))
    if "const" in field or "enum" in field:
        return " | ".join(json.dumps(value) for value in field.get("enum", [field.get("const")]))
    kind = field.get("type", "anything")
    if kind == "array":
        inside = field.get("prefixItems") or [field.get("items", {})]
        return f"list of {', '.join(_type(one, known) for one in inside)}"
    if kind == "object" and isinstance(field.get("additionalProperties"), Mapping):
        return f"names to {_type(field['additionalProperties'], known)}"
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[key]:.12g}" for key, sign in signs.items() if key in field]
    words = {"string": "text", "number": "number", "boolean": "true or false", "object": "names to values"}
    return " ".join([words.get(kind, kind), ", ".join(limits)]).rstrip()


def _format_names(entries: Sequence[Entry]) -> str:
    """One line a name, by role."""
    formatter = Formatter(width=WIDTH)
    widest = max(len(entry.name) for entry in entries)
    for role in Role:
        found = [(f"{entry.name:{widest}}", entry.summary) for entry in entries if entry.role is role]
        if found:
            with formatter.section(role.value.capitalize()):
                formatter.write_dl(found)
    return formatter.getvalue().strip("\n")


def _format_entry(kind: str, entry: Entry) -> str:
    formatter = Formatter(width=WIDTH)
    formatter.write_text(f"{entry.name}: {entry.summary}.")
    facts = [f"role {entry.role.value}", f"family {entry.family}"]
    facts += [f"needs {', '.join(sorted(entry.needs))}"] if entry.needs else []
    formatter.write_text(f"({'; '.join(facts)})")
    more = _describe_fields(kind, entry)
    described = first_paragraph(more.get("description", ""))
    if described:
        formatter.write_paragraph()
        formatter.write_text(described)
    if more.get("fields"):
        formatter.write_paragraph()
        formatter.write_text(f"Fields, changed by {_HOW[kind].format(name=entry.name)}:")
        with formatter.indentation():
            for field in more["fields"]:
                shown = f"; default {json.dumps(field['default'])}" if "default" in field else ""
                formatter.write_text(f"{field['name']} ({field['type']}{shown})")
                with formatter.indentation():
                    formatter.write_text(first_paragraph(field["meaning"]))
    return formatter.getvalue().strip("\n")
