"""The JSON records: one class a concept, how they are read and written, and their JSON Schema."""

from pydantic import BaseModel

from unlearning.records.acceptance import Accepted, Deployed, MovedParameters, PairedShare
from unlearning.records.audits import AuditResults, EstimatedShare
from unlearning.records.base import (
    SCHEMA_VERSION,
    Record,
    config_hash,
    differing_keys,
    finite,
    parse_record,
    read_json,
    read_raw,
    write_json,
)
from unlearning.records.configs import DataConfig, DetectConfig, PoisonConfig, TrainConfig, UnlearnConfig
from unlearning.records.detections import DetectionMetrics, DetectionResults
from unlearning.records.failures import CellFailure, FailedStage
from unlearning.records.features import AngleGroup, FeatureResults
from unlearning.records.memorisation import MEMORISATION, MemorisationResults
from unlearning.records.repairs import RepairResults, RowList, Solve, UnlearningResults, Work, metrics
from unlearning.records.rows import read_rows, write_rows
from unlearning.records.shown import Shown
from unlearning.records.trainings import ClassScores, Environment, TrainResults

KINDS: dict[str, type[BaseModel]] = {
    "train_config": TrainConfig,
    "failure": CellFailure,
    "train_results": TrainResults,
    "poison_config": PoisonConfig,
    "unlearn_config": UnlearnConfig,
    "unlearning_results": UnlearningResults,
    "repair_results": RepairResults,
    "detection_results": DetectionResults,
    "features": FeatureResults,
}
"""All records by name. In an experiment folder the name is that of the file, with `.json`; the records of `repair` and
`detect` stand beside the file that the user asked for, under its name."""

__all__ = [
    "KINDS",
    "MEMORISATION",
    "SCHEMA_VERSION",
    "Accepted",
    "AngleGroup",
    "AuditResults",
    "CellFailure",
    "ClassScores",
    "DataConfig",
    "Deployed",
    "DetectConfig",
    "DetectionMetrics",
    "DetectionResults",
    "Environment",
    "EstimatedShare",
    "FailedStage",
    "FeatureResults",
    "MemorisationResults",
    "MovedParameters",
    "PairedShare",
    "PoisonConfig",
    "Record",
    "RepairResults",
    "RowList",
    "Shown",
    "Solve",
    "TrainConfig",
    "TrainResults",
    "UnlearnConfig",
    "UnlearningResults",
    "Work",
    "config_hash",
    "differing_keys",
    "finite",
    "metrics",
    "parse_record",
    "read_json",
    "read_raw",
    "read_rows",
    "write_json",
    "write_rows",
]
