"""What is known of a measure from its name: its range, and which way is better."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from spider_jax.errors import InputError

INFINITY = float("inf")


class Measure(NamedTuple):
    """A measure that results are given in.

    Attributes:
        low: the smallest value that it can have.
        high: the largest.
        larger_is_better: which way is better, where a task does not say it.
        share: whether it is also written in percent, a hundred times as large.
    """

    low: float
    high: float
    larger_is_better: bool = True
    share: bool = False


SHARE = Measure(0.0, 1.0, share=True)
CORRELATION = Measure(-1.0, 1.0, share=True)
ERROR_SHARE = Measure(0.0, 1.0, larger_is_better=False, share=True)
ERROR = Measure(0.0, INFINITY, larger_is_better=False)

# One line a kind of measure; further words for the same stand on its line.
KINDS: tuple[tuple[Measure, str], ...] = (
    (SHARE, "accuracy acc acc_norm top1 top5 top_1 top_5 exact_match em pass hit_rate hits"),
    (SHARE, "f1 f_1 f1_score fscore precision recall sensitivity specificity"),
    (SHARE, "auc auroc roc_auc auprc pr_auc ap average_precision map mean_average_precision lrap"),
    (SHARE, "ndcg mrr mean_reciprocal_rank reciprocal_rank v_measure purity nmi ami"),
    (SHARE, "iou miou jaccard dice bleu sacrebleu rouge rouge1 rouge2 rougel rougelsum rouge_l"),
    (SHARE, "chrf chr_f chrf3pp chr_f3pp chr_f4 meteor sari"),
    (CORRELATION, "mcc matthews matthews_correlation matthews_correlation_coefficient"),
    (CORRELATION, "spearman spearmanr pearson pearsonr kendall kendalltau kendall_tau correlation"),
    (CORRELATION, "kappa cohen_kappa ari adjusted_rand p_mrr bertscore ssim"),
    (Measure(-INFINITY, 1.0), "r2 r_2 r_squared"),
    (ERROR, "rmse mse mae mape mean_squared_error mean_absolute_error"),
    (ERROR, "log_loss nll cross_entropy bits_per_byte fid wer cer word_error_rate"),
    (ERROR, "character_error_rate latency seconds ter"),
    (Measure(1.0, INFINITY, larger_is_better=False), "perplexity ppl word_perplexity"),
    (Measure(1.0, INFINITY, larger_is_better=False), "byte_perplexity"),
    (Measure(0.0, 2.0, larger_is_better=False), "brier brier_score"),
    (ERROR_SHARE, "error error_rate top1_error top5_error ece"),
)
MEASURES: dict[str, Measure] = {word: kind for kind, words in KINDS for word in words.split()}
# Words around the name of a measure that change neither its range nor its direction.
QUALIFYING = (
    "top zero few one shot balanced test val validation dev mean average avg overall macro micro "
    "weighted samples binary cosine cos sim dot euclidean manhattan similarity max norm normalized "
    "normalised strict flexible match quasi prefix score over subqueries per class linear probe "
    "knn retrieval at k"
)
QUALIFIERS = frozenset(QUALIFYING.split())
# Words that name the same measure in two tables.
SYNONYMS = {"acc": "accuracy", "em": "exact_match", "matthews": "mcc", "spearmanr": "spearman"}
SYNONYMS |= {"pearsonr": "pearson", "kendalltau": "kendall", "ppl": "perplexity", "auroc": "auc"}
LARGER = frozenset(("larger", "higher", "max", "maximize", "maximise", "up", "larger is better"))
SMALLER = frozenset(("smaller", "lower", "min", "minimize", "minimise", "down"))
LARGER |= {"higher is better", "higher_is_better", "larger_is_better"}
SMALLER |= {"lower is better", "smaller is better", "lower_is_better", "smaller_is_better"}
MEASURE_COLUMNS = ("measure", "main_score", "metric")
UNITS = ("", "fraction", "percent")
# A column `direction` of a public table may say which way a retrieval or a translation goes.
SIDES = "image text audio video speech code query document"
ROUTE = re.compile(
    rf"{SIDES.replace(' ', '|')}|[a-z]{{2,3}}( ?(-|->|→) ?| to |2)[a-z]{{2,3}}|[it]2[it]"
)


def find_measure(text: str) -> Measure | None:
    """The measure that a text names.

    Args:
        text: as a table has it: "accuracy", "nDCG@10", "zero-shot accuracy", "macro F1".

    Returns:
        What is known of it; None for a name that is not in the table.

    >>> find_measure("ndcg_at_10").high, find_measure("RMSE").larger_is_better
    (1.0, False)
    >>> find_measure("likes") is None
    True
    """
    words = re.findall(r"[^\W_]+", text.casefold().replace("²", "2"))
    while words:
        found = MEASURES.get("_".join(words))
        if found is not None:
            return found
        if words[-1].isdecimal() or words[-1] in QUALIFIERS:
            words.pop()
        elif words[0].isdecimal() or words[0] in QUALIFIERS:
            words.pop(0)
        else:
            return None
    return None


def measure_key(text: str) -> str:
    """What is compared where two tables name the measure of one task.

    Args:
        text: as a table has it.

    Returns:
        Its words in one form: nDCG@10 and ndcg_at_10 are one, ndcg_at_5 is another.
    """
    words = re.findall(r"[^\W_]+", text.casefold().replace("@", " at "))
    return "_".join(SYNONYMS.get(word, word) for word in words)


def direction_word(text: str) -> bool | None:
    """Which way is better, as a task's `direction` says it.

    Args:
        text: "larger", "higher", "smaller", "lower" or a word like these; "" is not said.

    Returns:
        Whether larger is better; None where nothing is said.

    Raises:
        InputError: another word.
    """
    word = " ".join(text.casefold().split())
    if not word:
        return None
    if word in LARGER or word in SMALLER:
        return word in LARGER
    raise InputError(f"direction must be larger or smaller, got {text!r}")


def is_route(texts: Sequence[str]) -> bool:
    """Whether a column `direction` says what goes to what, as "image" or "en-de", and nothing else.

    Such a column is a fact of the tasks like any other. A column with one of our words, or with
    any word that is no such route, is ours.

    Args:
        texts: one entry per task, "" where it is empty.

    Returns:
        Whether every entry that is not empty is a route, and at least one is.
    """
    words = {" ".join(text.casefold().split()) for text in texts} - {""}
    ours = {part for word in words for part in re.findall(r"\w+", word)} & (LARGER | SMALLER)
    return bool(words) and not ours and all(map(ROUTE.fullmatch, words))
