"""A task as tokens: class centres and deviations, padding, scaling, sampled meta-tasks."""
