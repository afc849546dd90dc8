"""What the tests share: made inputs, tiny models, a Hub on this machine, checks of docs."""
