"""How a spider is trained: config, teachers, targets, step, loop, parallel."""
