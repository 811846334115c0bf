"""What every run needs and no byte of a result depends on: no stage lists it in dvc.yaml."""
