"""nnU-Net on the very cases that a model of ours was trained on: what the method "nnunet" fine-tunes.

It is written beside ``--model``, and measured on the cases that chose that model's weights and trained none.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from methods.nnunet import base_path, make_trainer, save_base, segment_volume, train
from train_monai_base import base_options, cases_of, publish_base
from unetseg.inference import choose_device
from unetseg.model_file import read_document


def main(arguments: argparse.Namespace) -> None:
    document = read_document(arguments.model)
    record, classes = document.training, document.network.classes
    seconds = arguments.seconds or record.seconds
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            Path(folder),
            cases_of(arguments.data, record.cases, classes=classes),
            document.labels,
            configuration="2d" if document.plan.dimensions == 2 else "3d_fullres",
            modality=document.plan.modality,
            device=choose_device(arguments.device).device,
            seed=arguments.seed,
        )
        iterations = train(trainer, seconds=seconds, fine_tuning=False)
        save_base((arguments.output or arguments.model.parent) / base_path(arguments.model).name, trainer)
        publish_base(
            f"nnU-Net on the cases of {arguments.model.stem}",
            document,
            cases_of(arguments.data, record.validation_cases, classes=classes),
            lambda volume: segment_volume(trainer, volume),
            facts=(iterations, round(seconds)),
        )


if __name__ == "__main__":
    main(base_options(__doc__).parse_args())
