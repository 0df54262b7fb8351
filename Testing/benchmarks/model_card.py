"""The model card: what a user, and a lawyer, has to know about a model, as Markdown beside it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable

from published import Published
from shipped_models import PERMITTED_LICENCES, Description
from unetseg.model_file import Model
from unetseg.networks import UNet
from unetseg.records import dumps

NOT_FOR_PATIENTS = "Not for clinical use: it is no medical device, and nobody has tested it on your images."


def model_card(
    description: Description, model: Model, published: Published, *, sha256: str, megabytes: float, commands: list[str]
) -> str:
    """The whole card; ``commands`` are those that made the model, in order."""
    document, data = model.document, description.data
    structures = ", ".join(label.name for label in document.labels if label.value)
    facts = (
        ("file", f"`{description.id}.safetensors`, {megabytes:.1f} MB"),
        ("sha256", f"`{sha256}`"),
        ("finished", document.training.finished_utc),
        ("network", f"`{document.network.name}`, {parameters(model.network):,} parameters"),
        ("structures", structures),
        ("licence of the weights", licence_link(data.licence)),
    )
    parts = (
        f"# {description.name}",
        _table(("", ""), facts),
        f"Segments {description.segments}. For {description.audience}. {description.hint}.",
        f"**{NOT_FOR_PATIENTS}**",
        "## Data",
        f"[{data.name}]({data.url}), {licence_link(data.licence)}. {data.attribution}. {data.acquisition}",
        f"Cite: {data.citation}",
        "The weights were computed from these images; no image is in them. Whoever passes them on, changed or not, "
        "names the source and keeps the licence.",
        "## Split",
        description.split,
        "## Settings",
        _table(("setting", "value"), _settings(model)),
        "All others are in the file: `unetseg inspect --json` prints them.",
        "## Figures",
        f"Dice on cases never trained on. {published.facts}.",
        "\n".join(published.table),
        published.notes,
        "## Limits",
        "\n".join(_wrapped(f"- {limit}", indent="  ") for limit in (NOT_FOR_PATIENTS, *description.limits)),
        "## How it was made",
        "\n".join(["```sh", *commands, "```"]),
    )
    return "\n\n".join(_wrapped(part) if _is_text(part) else part for part in parts if part) + "\n"


def parameters(network: UNet) -> int:
    """How many numbers were learned."""
    return sum(parameter.numel() for parameter in network.parameters())


def licence_link(licence: str) -> str:
    """The licence's name, with a link to its text."""
    return f"[{licence}]({PERMITTED_LICENCES[licence]})"


def _settings(model: Model) -> Iterable[tuple[str, str]]:
    network, plan, training = model.document.network, model.document.plan, model.document.training
    settings = training.settings
    spacing = " × ".join("as acquired" if mm == 0 else f"{mm:g}" for mm in plan.spacing_mm)
    return (
        ("network", f"`{dumps(network.arguments)}`"),
        ("voxels (D, H, W), mm", spacing),
        ("patch, voxels", f"{' × '.join(map(str, plan.patch_size))}, {plan.batch_size} a step"),
        ("normalisation", ", ".join(entry.scheme for entry in plan.normalisation)),
        ("loss", f"`{settings['loss']}`"),
        ("optimiser", f"AdamW, {settings['learning_rate']:g}, averaged weights ({settings['ema_decay']:g})"),
        ("training", f"{training.iterations} steps, {math.ceil(training.seconds)} s, seed {settings['seed']}"),
    )


def _table(header: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = (header, ("---", "---"), *rows)
    return "\n".join(f"| {name} | {value} |" for name, value in lines)


def _is_text(part: str) -> bool:
    return not part.startswith(("#", "|", "-", "```"))


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
