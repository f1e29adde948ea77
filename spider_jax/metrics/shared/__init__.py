"""What metrics share: checked inputs, one pass of statistics, eigenvectors, folds."""
