"""What the takeover's action plugins share. It runs on the controller, except for `programs`."""
