"""The Keras objects that objectives are made of. Each works by itself, in anybody's `compile` and `fit`."""
