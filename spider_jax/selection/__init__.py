"""Two phases: recall, then heads that are really trained."""
