"""Exact inference in bounded memory: from a volume and a model to a segmentation on the volume's own grid."""

from __future__ import annotations

from .calibration import calibrate, int8_dice_loss
from .devices import Device, DeviceChoice, available_devices, choose_device
from .engine import Engine
from .fused import CHANNELS_LAST
from .interrupt import interruptible
from .memory import is_out_of_memory, limit_bytes
from .precision import AUTO, PRECISIONS, faster_precision, has_bfloat16, without_tf32
from .predict import predict, predict_labels
from .segment import Segmentation, segment, segment_prepared
from .winograd import ONEDNN

__all__ = [
    "AUTO",
    "CHANNELS_LAST",
    "ONEDNN",
    "PRECISIONS",
    "Device",
    "DeviceChoice",
    "Engine",
    "Segmentation",
    "available_devices",
    "calibrate",
    "choose_device",
    "faster_precision",
    "has_bfloat16",
    "int8_dice_loss",
    "interruptible",
    "is_out_of_memory",
    "limit_bytes",
    "predict",
    "predict_labels",
    "segment",
    "segment_prepared",
    "without_tf32",
]
