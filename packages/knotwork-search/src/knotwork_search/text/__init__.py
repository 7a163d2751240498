"""Text in, blocks of tokens out: what a language-model search reads. Needs the extra `knotwork-search[text]`.

splits = load_text("python-stdlib")
tokenizer = load_tokenizer("train:4096", splits.train)
blocks = token_blocks(splits.train, tokenizer, block_size=128)
weight_part, architecture_part = split_blocks(blocks, 0.5)
"""

from knotwork_search.text._blocks import TokenBlocks, bytes_per_token, token_blocks
from knotwork_search.text._parts import split_blocks
from knotwork_search.text._sources import load_text
from knotwork_search.text._splits import TextDataset, TextSplits
from knotwork_search.text._tokenizer import load_tokenizer

__all__ = [
    "TextDataset",
    "TextSplits",
    "TokenBlocks",
    "bytes_per_token",
    "load_text",
    "load_tokenizer",
    "split_blocks",
    "token_blocks",
]
