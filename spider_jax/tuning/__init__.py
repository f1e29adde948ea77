"""B-Tuning: one model is deployed, the best models of the zoo teach it; and its baselines.

    spider-jax tune zoo/ my_task --student small_model --teachers auto:3 --out student/
    spider-jax tune zoo/ my_task --student small_model --config configs/tune/default.toml

`tune_zoo(zoo, task, student, ...)` is the same in Python. It trains a network on one model's
features, so that its predictive mean agrees with the weighted predictive means of the best-ranked
models, whatever their widths. Predictive means are those of LogME; the weights of the teachers are
a softmax of their LogME, standardised (`--raw` takes it as it is).

What it needs
    A zoo with labels and features of the student's model and of the teachers on the task. Rows of
    split 0 train, rows of split 1 choose learning rate, weight and temperature, rows of split 2 are
    read once, of the runs that were chosen; 60/20/20 where the zoo has no split.

What to choose
    `methods`: "b-tuning", and to compare with "fine-tuning" (no teacher), "l2-sp" (stay near the
    start), "distillation" (copy the best teacher's features), "head-only". Always tune by
    "fine-tuning" as well: it says what the teachers bring. `teachers`: names, or "auto:K" for the K
    best by LogME or by a spider.

What it costs
    epochs x seeds x every combination of hyper-parameters, side by side on the device: for features
    of a few hundred rows, seconds. The same command goes on where it was interrupted, to the same
    bits. The result is a folder of two files, which `TunedStudent.load(folder).predict(features)`
    reads.

When not to trust it
    On 14 real tasks, three seeds, a network on one model's features: B-Tuning .632, fine-tuning
    .610 (+.022 [+.002, +.042]), but L2-SP .638, head-only .637 and distillation .620 are ties. From
    pixels (300 digits, one ImageNet teacher) B-Tuning, fine-tuning, L2-SP and distillation are
    ties, .960 to .963. On training rows the teachers' target is nearly the labels, so that there is
    little to learn from it: bench/results/quality/tuning.md. Column "spread" is the deviation over
    seeds alone; with 40 test rows the standard error of an accuracy is .08.

A student is any pure function `apply(params, x) -> features`. `nnx_student` and `linen_student`
make one of a Flax module, `feature_student` one on features. `make_problem` puts it together with
its task, `tune` tunes it:

>>> import numpy as np
>>> from spider_jax.heads import make_targets
>>> from spider_jax.tuning import Student, Teacher, TuneConfig, fit_teachers, make_problem, tune
>>> from spider_jax.zoo.splits import TaskSplit
>>> rng = np.random.default_rng(0)
>>> x = rng.normal(size=(1, 60, 4)).astype(np.float32)  # one view of 60 rows
>>> labels = (x[0, :, 0] > 0).astype(int)
>>> split = TaskSplit(np.arange(30), np.arange(30, 45), np.arange(45, 60), "by hand")
>>> targets = make_targets("classification", labels, split.train)
>>> student = Student(lambda params, x: x @ params, np.eye(4, dtype=np.float32))
>>> teacher = Teacher("large", x * np.float32([3, 1, 1, 1]))  # its exported features
>>> fitted = fit_teachers([teacher], None, targets.values, split.train)
>>> problem = make_problem(student, x, targets, labels, split, "accuracy", fitted)
>>> config = TuneConfig(learning_rates=(0.1,), weights=(1.0,), seeds=1, epochs=20, batch=10)
>>> tuning = tune(problem, ("b-tuning",), config)
>>> tuning.best.method, tuning.best.validation[0] > 0.8
('b-tuning', True)
"""

from spider_jax.tuning.config import Hyperparameters, TuneConfig, TuneZooConfig
from spider_jax.tuning.files import TunedStudent
from spider_jax.tuning.loss import METHODS, Method, teacher_weights
from spider_jax.tuning.problem import TuningProblem, make_problem
from spider_jax.tuning.students import Student, feature_student, linen_student, nnx_student
from spider_jax.tuning.teachers import FittedTeachers, Teacher, fit_teachers
from spider_jax.tuning.tune_student import Tuned, Tuning, tune
from spider_jax.tuning.zoo import tune_zoo, zoo_problem

__all__ = [
    "METHODS",
    "FittedTeachers",
    "Hyperparameters",
    "Method",
    "Student",
    "Teacher",
    "TuneConfig",
    "TuneZooConfig",
    "Tuned",
    "TunedStudent",
    "Tuning",
    "TuningProblem",
    "feature_student",
    "fit_teachers",
    "linen_student",
    "make_problem",
    "nnx_student",
    "teacher_weights",
    "tune",
    "tune_zoo",
    "zoo_problem",
]
