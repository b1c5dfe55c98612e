"""What tests share: tiny models and tasks, comparing folders, and where things are."""
