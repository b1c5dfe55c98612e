"""The sources of images, one a file."""
