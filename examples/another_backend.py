"""The same network on another array library: PyTorch if installed, or array-api-strict."""

from dlskills import Adam, MultiLayerNet, load_mnist, to_host

try:
    import torch as xp
except ImportError:
    try:
        import array_api_strict as xp
    except ImportError:
        raise SystemExit(
            "install PyTorch or array-api-strict: pip install array-api-strict"
        ) from None

(x_train, t_train), _ = load_mnist(subset="sample")
network = MultiLayerNet(784, [50], 10, seed=0, xp=xp)
x = network.backend.asarray(x_train[:1000])
t = network.backend.asarray(t_train[:1000])

optimizer = Adam()
for step in range(50):
    loss, grads = network.loss_and_gradient(x, t)
    optimizer.update(network.params, grads)
    if step % 10 == 0:
        print(f"step {step}: loss {float(to_host(loss)):.3f}")
print(f"{type(network.params['W1'])} on {network.backend}")
