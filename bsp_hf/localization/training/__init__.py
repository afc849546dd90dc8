"""What training a localizer shares: task, split, schedule."""
