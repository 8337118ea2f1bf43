"""fanin: check, plan and write the initial weights of any PyTorch model."""
