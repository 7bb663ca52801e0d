"""A PyTorch model with one objective, on GPUs: trials that do not get better are pruned.

Every worker has a GPU of its own. With a set that `make_small_cifar10.py` wrote, named by
``EXAMPLE_CIFAR10``, nothing is downloaded; ``EXAMPLE_TRIALS`` and ``EXAMPLE_EPOCHS`` make it short.
"""

# mypy: disable-error-code="import-not-found,misc,no-untyped-def,no-untyped-call"
# pyright: basic, reportMissingImports=false

import os

import optuna

import aiauto

ac = aiauto.AIAutoController()

N_TRIALS = int(os.environ.get("EXAMPLE_TRIALS", "100"))
MAX_EPOCHS = int(os.environ.get("EXAMPLE_EPOCHS", "100"))
SMALL_SET = os.environ.get("EXAMPLE_CIFAR10")

study_wrapper = ac.create_study(
    study_name="pytorch_optimization",
    direction="minimize",
    pruner=optuna.pruners.PatientPruner(optuna.pruners.MedianPruner(), patience=4),
)


# See https://docs.pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html
def objective(trial: optuna.trial.Trial) -> float:
    """Runs in a worker, which installs torch first: so it is imported here."""
    import torch
    import torch.nn.functional as F
    from torch import nn, optim
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    # Hyperparameters
    lr = trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
    momentum = trial.suggest_float("momentum", 0.1, 0.99)
    batch_size = trial.suggest_categorical("batch_size", [16, 32, 64, 128])
    epochs = trial.suggest_int("epochs", 10, MAX_EPOCHS, step=10)

    # Model
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 6, 5)
            self.pool = nn.MaxPool2d(2, 2)
            self.conv2 = nn.Conv2d(6, 16, 5)
            self.fc1 = nn.Linear(16 * 5 * 5, 120)
            self.fc2 = nn.Linear(120, 84)
            self.fc3 = nn.Linear(84, 10)

        def forward(self, x):
            x = self.pool(F.relu(self.conv1(x)))
            x = self.pool(F.relu(self.conv2(x)))
            x = torch.flatten(x, 1)  # flatten all dimensions except batch
            x = F.relu(self.fc1(x))
            x = F.relu(self.fc2(x))
            return self.fc3(x)

    # On the GPU, where there is one
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Net().to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=momentum)

    # Data
    class SmallCIFAR10(datasets.CIFAR10):
        """The files of make_small_cifar10.py: their checksums are not those of the real ones."""

        train_list = [[name, None] for name, _ in datasets.CIFAR10.train_list]
        test_list = [[name, None] for name, _ in datasets.CIFAR10.test_list]
        meta = {**datasets.CIFAR10.meta, "md5": None}

    CIFAR10 = SmallCIFAR10 if SMALL_SET else datasets.CIFAR10
    root = SMALL_SET or "/tmp/cifar10_data"
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
    )
    train_set = CIFAR10(root=root, train=True, download=True, transform=transform)
    train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True, num_workers=2)

    # Training
    min_epochs_for_pruning = max(50, epochs // 5)  # none is pruned before that
    total_loss = 0.0
    for epoch in range(epochs):  # loop over the dataset multiple times
        running_loss = 0.0
        model.train()
        for i, (images, labels) in enumerate(train_loader, 0):
            inputs, targets = images.to(device), labels.to(device)
            # zero the parameter gradients
            optimizer.zero_grad()
            # forward + backward + optimize
            outputs = model(inputs)
            loss = criterion(outputs, targets)
            loss.backward()
            optimizer.step()

            # print statistics
            running_loss += loss.item()
            if i % 2000 == 1999:  # print every 2000 mini-batches
                print(f"[{epoch + 1}, {i + 1:5d}] loss: {running_loss / 2000:.3f}")

        # What the pruner judges by
        trial.report(running_loss, epoch)
        total_loss += running_loss
        if epoch >= min_epochs_for_pruning and trial.should_prune():
            raise optuna.TrialPruned

    return total_loss


study_wrapper.optimize(
    objective,
    n_trials=N_TRIALS,
    parallelism=4,
    use_gpu=True,
    requirements_list=["torch", "torchvision"],  # installed by the workers
    wait_option=aiauto.WaitOption.WAIT_ALL_TRIALS,
    wait_timeout=None,
)

best = study_wrapper.best_trial
print(f"Best of {study_wrapper.get_status()['count_completed']} trials: number {best.number}")
print(f"  value  {best.value:.6g}")
print(f"  params {best.params}")
print(f"  on     {best.user_attrs['gpu_name']}")
