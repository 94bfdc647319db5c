"""Keywords of other libraries' networks, and their equivalents here."""

from __future__ import annotations

from collections.abc import Mapping

_SEQUENTIAL = {
    "weight_decay": "weight_decay_lambda=...",
    "l2": "weight_decay_lambda=...",
    "criterion": "loss=...",
    "loss_fn": "loss=...",
    "random_state": "seed=...",
    "lr": "lr=... for the optimizer",
    "learning_rate": "lr=... for the optimizer",
    "optimizer": "Trainer(network, ..., optimizer=...)",
}
_SIZES = {
    "input_dim": "input_size=...",
    "in_features": "input_size=...",
    "n_features": "input_size=...",
    "hidden_sizes": "hidden_size_list=[...]",
    "hidden_size": "hidden_size_list=[...]",
    "hidden_dim": "hidden_size_list=[...]",
    "hidden_dims": "hidden_size_list=[...]",
    "hidden_layer_sizes": "hidden_size_list=[...]",
    "output_dim": "output_size=...",
    "out_features": "output_size=...",
    "n_classes": "output_size=...",
    "num_classes": "output_size=...",
    "activation_fn": 'activation="relu"',
    "init": 'weight_init_std="he"',
    "initializer": 'weight_init_std="he"',
    "kernel_initializer": 'weight_init_std="he"',
}
_EXTRAS = {
    "dropout": "use_dropout=True, dropout_ratio=...",
    "dropout_rate": "use_dropout=True, dropout_ratio=...",
    "drop_rate": "use_dropout=True, dropout_ratio=...",
    "batchnorm": "use_batchnorm=True",
    "batch_norm": "use_batchnorm=True",
    "use_batch_norm": "use_batchnorm=True",
    "use_bn": "use_batchnorm=True",
}

FOR_SEQUENTIAL: Mapping[str, str] = _SEQUENTIAL
FOR_MULTILAYER: Mapping[str, str] = (
    _SEQUENTIAL
    | _SIZES
    | {name: f"MultiLayerNetExtend(..., {own})" for name, own in _EXTRAS.items()}
    | {
        "use_dropout": "MultiLayerNetExtend(..., use_dropout=True)",
        "use_batchnorm": "MultiLayerNetExtend(..., use_batchnorm=True)",
        "input_dropout_ratio": "MultiLayerNetExtend(..., input_dropout_ratio=...)",
    }
)
FOR_EXTENDED: Mapping[str, str] = _SEQUENTIAL | _SIZES | _EXTRAS
