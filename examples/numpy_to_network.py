"""From NumPy arrays to a trained network and its scores; runs in seconds.

    python examples/numpy_to_network.py

The events are made up: signal has harder and more jets. Put arrays of your own in their place.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.evaluation import auc
from particle_transformer.events import Events, Ragged, split_roles
from particle_transformer.inference.score import score_events, signal_probability
from particle_transformer.training import FitSettings, fit_network, make_sample

# Padded arrays, as they are often kept: jets (events, slots, features), and which slots are real.
rng = np.random.default_rng(1)
process = rng.integers(0, 3, 6000)  # 0, 1: two backgrounds, 2: signal
is_signal = process == 2
real = np.arange(8) < rng.poisson(3 + is_signal)[:, None]  # (events, 8)
pt = 30 + rng.exponential(50 + 30 * is_signal[:, None], (6000, 8))
eta = rng.normal(0, 1.5, (6000, 8))
met = 50 + rng.exponential(60, 6000)
weight = np.where(rng.random(6000) < 0.1, -0.5, 0.5)  # physics weights have signs

# No padding in the events: all jets of all events, and how many each event has.
jets = Ragged.of(np.stack([np.log(pt), eta], axis=-1)[real], real.sum(1))
events = Events.of({"jets": jets}, np.log(met)[:, None], process, weight=weight)

# Fold 0 of 5 is for the test, a fifth of the rest for validation.
training_rows, validation_rows, test_rows = split_roles(events.identity, 0, 5)
target = [0, 0, 1]  # the class of each process; 1 is signal
training = make_sample(events, training_rows, target)
validation = make_sample(events, validation_rows, target, role="validation")
print(f"training events {training.weights.events}, worth {training.weights.effective_events}")

model = AnalysisObjectTransformer(
    {"jets": 2}, 1, embed_dims=16, linear_dims1=16, linear_dims2=16, num_heads=2
)
with TemporaryDirectory() as folder:
    settings = FitSettings(epochs=5, batch_size=128, learning_rate=3e-3)
    checkpoints, logs = Path(folder, "checkpoints"), Path(folder, "logs")
    fit = fit_network(
        model, training, validation, settings, checkpoint_dir=checkpoints, log_dir=logs
    )
for record in fit.history:
    print(f"epoch {record['epoch']}: validation loss {record['val_loss']:.4f}")

test = events.take(test_rows)
score = signal_probability(score_events(model, test))
print(f"AUC of {len(test)} test events: {auc(score, test.weight, is_signal[test_rows]).value:.3f}")
