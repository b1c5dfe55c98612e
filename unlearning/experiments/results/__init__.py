"""Reading experiment folders."""
