"""One file a metric; the table `METRICS` names them all."""
