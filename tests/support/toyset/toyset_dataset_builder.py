"""Its builder: PNG pictures and four classes, one of which never occurs."""

import io
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

COUNT, SIDE = 24, 12
NAMES = ("ant", "bee", "cow", "dodo")


def pictures() -> Any:
    return np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), np.uint8)


class Builder(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """Pictures and classes that take turns."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> Any:
        features = tfds.features.FeaturesDict(
            {
                "picture": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=NAMES),
                "number": np.int64,
            }
        )
        return self.dataset_info_from_configs(features=features)

    def _split_generators(self, manager: Any) -> Any:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Any:
        from PIL import Image

        for number, picture in enumerate(pictures()):
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "PNG")
            file.seek(0)
            yield number, {"picture": file, "label": number % 3, "number": number}
