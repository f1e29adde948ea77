"""Where the text part of the embedded zoo is from: licences, doubts, and the page that says so.

make_embedded_text.py writes the licences into the manifest, and PROVENANCE.md from this table. What
is kept and what is held out is named here too.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

LICENCES = ("Apache-2.0", "BSD-3-Clause", "MIT", "PDDL")  # of models that are kept
HELD_OUT = ("bible_genre", "code_language", "fortune_it_author")


class Texts(NamedTuple):
    """The labelled texts of a task.

    Attributes:
        source: what they are, and what a label is.
        licence: of the texts.
        doubt: what is not certain.
    """

    source: str
    licence: str
    doubt: str = ""


CODE_DOUBT = "the packages' licences were not read; some of them may be copyleft"
TASKS = {
    "bible_genre": Texts(
        "Debian bible-kjv-text: group of books a King James verse stands in",
        "public domain (text); GPL-2.0-or-later (package)",
    ),
    "code_language": Texts(
        "five lines out of source files of installed packages: file type",
        "that of each package",
        f"which packages is not recorded; {CODE_DOUBT}",
    ),
    "deb_topic": Texts(
        "Debian 12 package lists: section of a package, from its one-line description",
        "none stated separately",
        "the descriptions are by the authors and maintainers of the packages",
    ),
    "emoji_group": Texts(
        "Debian unicode-data: group an emoji's name stands in", "Unicode terms of use"
    ),
    "fortune_it_author": Texts(
        "Debian fortunes-it: author's or topic's file an Italian text stands in", "public domain"
    ),
    "fortune_topic": Texts(
        "Debian fortunes, fortunes-min: file a quotation stands in, author line removed",
        "BSD-like (collection)",
        "the collection states it, not the authors of the quotations",
    ),
    "function_library": Texts(
        "lines of function bodies in twelve Python packages, package names replaced: which package",
        "that of each package",
        CODE_DOUBT,
    ),
    "message_language": Texts(
        "gettext catalogues of Debian packages: language of a program message (20 languages in "
        "Latin letters)",
        "GPL and LGPL by catalogue",
        "the messages are copyleft",
    ),
    "name_registry": Texts(
        "registry a bare package name comes from (@scope and tell-tale prefixes cut): npm, PyPI, "
        "Debian, CPAN as packaged by Debian, Maven, Go, NuGet",
        "none stated",
        "the texts are bare names",
    ),
    "word_class": Texts(
        "Debian wordnet-base: part of speech of a single word that has only one", "WordNet-3.0"
    ),
    "word_language": Texts(
        "Debian fortunes in several languages: language of a single word found in one of them only",
        "BSD-like, GPL-2.0-or-later (German, Spanish) and public domain (Italian) by collection",
        "licences of the other collections were not read; the texts are single words",
    ),
    "wordnet_verb_gloss": Texts(
        "Debian wordnet-base: lexicographer file of a verb, from its definition", "WordNet-3.0"
    ),
}
COPY = "its package is a conversion or copy by others than the authors of the model"
MODEL_DOUBTS = {
    "glove_6b_50d": "PDDL is what the package states of the vectors; its code is Apache-2.0",
    "minilm_l6": "Apache-2.0 is what the package states of the weights; its code is MIT",
    "paraphrase_minilm_l3": COPY,
    "skill_mlp": "a layer over all-MiniLM-L6-v2, whose weights are Apache-2.0",
    "spacy_en_ner": f"{COPY}; trained on OntoNotes, a corpus that is not free",
    "spacy_en_tagger": f"{COPY}; trained on OntoNotes, a corpus that is not free",
    "sre_minilm_l6": "tuned from all-MiniLM-L6-v2, whose weights are Apache-2.0",
    "use_multilingual_v3": COPY,
}


def provenance(
    note: str, models: Mapping[str, Any], tasks: Mapping[str, Any], left_out: Mapping[str, str]
) -> str:
    """PROVENANCE.md: where every number is from, under which licence, and what is doubtful.

    Args:
        note: how the numbers were made.
        models: the manifest's entries of the models.
        tasks: the manifest's entries of the tasks.
        left_out: reasons by model or task that is not here.
    """
    lines = [
        "# Where the text part of the embedded zoo is from",
        "",
        "Written by bench/zoos/make_embedded_text.py. This folder holds only numbers: features",
        "that text encoders computed from short texts, class labels, and accuracies. It holds no",
        "texts, no weights and no code of the packages below. Their licences are listed because",
        "the numbers could not be had without them. They were read in the packages; nobody's",
        "confirmation was asked for, and this page is no legal advice.",
        "",
        note,
        "",
        "## Models",
        f"Only models under one of these licences: {', '.join(LICENCES)}.",
        "",
        "| model | package and version | licence |",
        "|---|---|---|",
        *(f"| {name} | {m['source']} | {m['licence']} |" for name, m in models.items()),
        "",
        "## Texts",
        "| task | domain | texts and labels | licence of the texts |",
        "|---|---|---|---|",
        *(
            f"| {name} | {t['domain']} | {t['source']} | {t['licence']} |"
            for name, t in tasks.items()
        ),
        "",
        f"Held out, for tests on tasks never seen: {', '.join(HELD_OUT)}.",
        "bible_genre is the only task of its domain. The other two have a domain in common with",
        "tasks that are not held out, but other texts; words of the Italian texts may be among",
        "the single words of word_language. They were chosen before a spider was trained on this",
        "folder, so that the constant order is about as good on them (mean weighted tau .64 in the",
        "larger zoo) as on all 18 tasks there (.63).",
        "",
        "## Left out of this folder",
        *(f"- {name}: {reason}." for name, reason in left_out.items()),
        "",
        "## Known doubts",
        "Of the models: a package's licence is taken to cover the weights in it. Only those of",
        "glove_6b_50d and minilm_l6 are known to say so of the weights themselves.",
        *(f"- {name}: {MODEL_DOUBTS[name]}." for name in models if name in MODEL_DOUBTS),
        "",
        "Of the texts:",
        *(f"- {name}: {TASKS[name].doubt}." for name in tasks if TASKS[name].doubt),
        "",
        "Whether features computed from copyleft texts fall under the texts' terms is not settled",
        "here. Whoever needs certainty leaves those tasks out: every task is its own files.",
    ]
    return "\n".join(lines) + "\n"
