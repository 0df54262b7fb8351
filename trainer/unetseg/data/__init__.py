"""Cases, sparse annotations and training batches.

This package loads without torch; what needs it is imported from ``unetseg.data.batches``.
"""

from .annotations import (
    PreparedCase,
    Slice,
    annotated_slices,
    check_annotations,
    class_counts,
    keep_slices,
)
from .case_files import CaseFiles, CaseList, default_labels
from .cases import Case, find_cases, load_case
from .confirmed import read_annotation

__all__ = [
    "Case",
    "CaseFiles",
    "CaseList",
    "PreparedCase",
    "Slice",
    "annotated_slices",
    "check_annotations",
    "class_counts",
    "default_labels",
    "find_cases",
    "keep_slices",
    "load_case",
    "read_annotation",
]
