"""What SFT and GRPO share: data, model, arguments, progress, curve, checkpoints. The trainers are TRL's."""
