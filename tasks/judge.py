"""Stage `judge`: the feature network that measures every generator of this data set."""

from ganpress.checkpoint import save_model
from ganpress.config.training import JudgeConfig
from ganpress.data.arrays import open_split
from ganpress.tracking import StageRun
from ganpress.training.judge import train_judge
from models.builders import Blueprint
from tasks.generator_training import checkpointing, log_point, write_json
from tasks.stage import Stage, require, stage_main
