"""Text in, blocks of tokens out, and the task of searching a language model on them. Needs `knotwork-tasks[text]`.

splits = load_text("python-stdlib")
tokenizer = load_tokenizer("train:4096", splits.train)
blocks = token_blocks(splits.train, tokenizer, block_size=128)
weight_part, architecture_part = split_blocks(blocks, 0.5)
"""

from knotwork_tasks._task import TaskKind
from knotwork_tasks.text._blocks import TokenBlocks, bytes_per_token, token_blocks
from knotwork_tasks.text._flags import TextFlags, parse_text_flags
from knotwork_tasks.text._parts import split_blocks
from knotwork_tasks.text._sources import load_text
from knotwork_tasks.text._splits import TextDataset, TextSplits
from knotwork_tasks.text._task import TextPackaging, TextTask, load_packaging, text_task
from knotwork_tasks.text._tokenizer import load_tokenizer
from knotwork_tasks.text._train_flags import TextTrainFlags, parse_text_train_flags
from knotwork_tasks.text._train_task import TextTraining, text_training

TASK = TaskKind(TextFlags, text_task, load_packaging, parse_text_flags)

__all__ = [
    "TASK",
    "TextDataset",
    "TextFlags",
    "TextPackaging",
    "TextSplits",
    "TextTask",
    "TextTrainFlags",
    "TextTraining",
    "TokenBlocks",
    "bytes_per_token",
    "load_packaging",
    "load_text",
    "load_tokenizer",
    "parse_text_flags",
    "parse_text_train_flags",
    "split_blocks",
    "text_task",
    "text_training",
    "token_blocks",
]
