"""Models that come and go: added to a spider, removed and renamed without training it again.

Every other model keeps its scores to the bit.

    spider-jax add SPIDER ZOO new_model another_model   # all new models of the zoo without names
    spider-jax add SPIDER ZOO --cold                    # also those without features, by a guess
    spider-jax remove SPIDER old_model
    spider-jax rename SPIDER resnet50 resnet50_v1
    spider-jax index append INDEX SPIDER                # an index built before takes them as well

In Python:

>>> from spider_jax.onboarding import add, remove, rename
>>> added = add(spider, zoo, ["new_model"])  # doctest: +SKIP
>>> added.models, added.problems  # doctest: +SKIP
(('new_model',), ())
>>> spider = rename(remove(added.spider, ["old_model"]), {"a": "b"})  # doctest: +SKIP

What is read
------------
The teachers score a new model on the spider's own meta-tasks. Its place among the known models
there is what the memory keeps of it, and its token is fitted to these places, all else frozen. So
the zoo must hold the new model's features on all source datasets, and the labels and the
extractor's features as they were in training. The known models' features are not needed.

A model without features can be added `cold`: its token is a weighted mean of known models, by the
facts that the manifest gives of them ("params", "source_accuracy", "family", "source",
"trained_for", "architecture"). Every ranking says which places are guesses.

>>> from spider_jax.onboarding import cold_start_weights
>>> facts = {
...     "resnet18": {"family": "resnet", "params": 12e6},
...     "resnet50": {"family": "resnet", "params": 26e6},
...     "vit_b16": {"family": "vit", "params": 86e6},
...     "resnet34": {"family": "resnet", "params": 22e6},
... }
>>> weights, used = cold_start_weights(facts, ["resnet18", "resnet50", "vit_b16"], ["resnet34"])
>>> weights.round(2), used
(array([[0.43, 0.41, 0.16]]), ['params, family'])

What it costs
-------------
The teachers' time for the new models, as in training, and one compilation; 100 models at once, with
their metrics known, take about a minute on two cores.

When not to trust it
--------------------
On the real zoo an added model stands about where a full training would put it: its rank differs by
0.45 [0.25, 0.68] places on average, as it does between two seeds of a full training (0.49). The
order of all models is a little worse: weighted tau .737 against .746
(bench/results/quality/onboarding.md). A guess knows nothing of the model itself, so do not choose a
model for its guessed place. The network is not trained again: when many models have come, train a
new spider. A spider that came from published torch weights, or from an older version, has no
teacher table, so it takes guesses only.
"""

from spider_jax.onboarding.add_models import Added, add
from spider_jax.onboarding.cold_start import cold_start_weights
from spider_jax.onboarding.edit import remove, rename

__all__ = ["Added", "add", "cold_start_weights", "remove", "rename"]
