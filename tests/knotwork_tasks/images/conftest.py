"""Small image folders and labelled images."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from knotwork_export import Preprocessing
from knotwork_tasks.images import LabelledImages
from PIL import Image


def noise(seed: int, mode: str = "L", size: tuple[int, int] = (6, 6)) -> Image.Image:
    """An image of (height, width) that no other seed gives."""
    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "LA": (2,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, *channels), dtype=np.uint8)
    return Image.fromarray(pixels)


def preprocessing(size: int, channels: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Preprocessing:
    return Preprocessing(("a", "b"), (channels, size, size), mean, std)


def save(image: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def write_split(folder: Path, counts: dict[str, int], draw: Callable[[int], Image.Image] = noise) -> None:
    """`counts` images of each class as `folder/CLASS/000.png`, all different."""
    seed = 0
    for name, count in counts.items():
        for i in range(count):
            save(draw(seed), folder / name / f"{i:03d}.png")
            seed += 1


def in_memory(images: Sequence[Image.Image], targets: Sequence[int] | None = None) -> LabelledImages:
    targets = [i % 2 for i in range(len(images))] if targets is None else targets
    return LabelledImages(images.__getitem__, range(len(images)), targets)


def pixels(images: LabelledImages) -> list[bytes]:
    return [image.tobytes() for image, _ in images]  # pyright: ignore
